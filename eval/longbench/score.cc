#include <algorithm>
#include <nlohmann/json.hpp>

#include "eval/longbench/longbench.h"
#include "tools/text.h"

namespace kvedit::eval::longbench {

double score(const DataSet& set, std::string_view answer, const std::vector<std::string>& references,
             const std::vector<std::string>& classes, const Jieba* jieba) {
  if (set.chinese && jieba == nullptr)
    fail(ErrorCode::invalid_argument, "eval", set.name, " is scored without jieba");
  if (set.first_line) {
    answer.remove_prefix(std::min(answer.find_first_not_of('\n'), answer.size()));
    answer = answer.substr(0, answer.find('\n'));
  }
  double best = 0;
  for (const std::string& truth : references)
    best = std::max(best, set.score({answer, truth, classes, jieba}));
  return best;
}

Record parse_record(std::string_view line, std::string_view name) {
  try {
    const auto json = nlohmann::json::parse(line);
    Record record{json.value("dataset", std::string(name)),
                  json.at("input"),
                  json.at("context"),
                  json.at("answers"),
                  {}};
    if (json.contains("all_classes") && !json["all_classes"].is_null()) record.classes = json["all_classes"];
    if (record.answers.empty()) fail(ErrorCode::corrupt, "eval", "no answers");
    return record;
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::corrupt, "eval", error.what());
  }
}

}  // namespace kvedit::eval::longbench
