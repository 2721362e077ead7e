#include "eval/results.h"

#include <cmath>
#include <filesystem>

#include "tools/text.h"

namespace kvedit::eval {
namespace {

// The adapter's whole path counts: two of one name are two cells.
std::tuple<int, int, std::string> key_of(int length, int example, const Cell& cell) {
  return {length, example, cell.text() + "\n" + cell.adapter};
}

}  // namespace

Results::Results(std::string path, const Json& setting, std::vector<std::string> metrics, bool resume)
    : path_(std::move(path)), metrics_(std::move(metrics)) {
  std::ifstream earlier(path_, std::ios::binary);
  std::string line;
  uintmax_t whole = 0;  // bytes of finished lines
  for (int number = 1; std::getline(earlier, line) && !earlier.eof(); number++) {
    if (!resume) {
      fail(ErrorCode::invalid_argument, "eval", path_,
           " has results of an earlier run: resume it, or choose another folder");
    }
    try {
      if (number == 1) {
        check_setting(line, setting);
      } else {
        Result result = parse(line);
        results_.insert_or_assign(key_of(result.length, result.example, result.cell), std::move(result));
      }
    } catch (const nlohmann::json::exception& error) {
      fail(ErrorCode::corrupt, "eval", path_, ":", number, ": no result: ", error.what());
    }
    whole += line.size() + 1;
  }
  earlier.close();
  std::error_code error;
  if (std::filesystem::exists(path_, error)) std::filesystem::resize_file(path_, whole, error);
  if (error) fail(ErrorCode::io, "eval", "cannot write ", path_, ": ", error.message());
  file_.open(path_, std::ios::binary | std::ios::app);
  if (whole == 0) write(setting);
}

void Results::check_setting(const std::string& line, const Json& setting) const {
  const Json earlier = Json::parse(line);
  for (const auto& [name, value] : setting.items()) {
    if (earlier.at(name) != value) {
      fail(ErrorCode::invalid_argument, "eval", path_, " has results of ", name, " ", earlier.at(name).dump(),
           ", not ", value.dump());
    }
  }
}

Result read_measured(const Json& json) {
  Result r;
  json.at("length").get_to(r.length);
  json.at("example").get_to(r.example);
  json.at("policy").get_to(r.cell.policy);
  json.at("keep").get_to(r.cell.keep);
  json.at("resolved").get_to(r.policy);
  json.at("read_ms").get_to(r.read_ms);
  json.at("edit_ms").get_to(r.edit_ms);
  json.at("answer_ms").get_to(r.answer_ms);
  json.at("bytes").get_to(r.bytes);
  json.at("peak_bytes").get_to(r.peak_bytes);
  return r;
}

Result Results::parse(const std::string& line) const {
  const Json json = Json::parse(line);
  Result r = read_measured(json);
  json.at("method").get_to(r.cell.method);
  json.at("adapter").get_to(r.cell.adapter);
  for (const Json& question : json.at("questions")) {
    QuestionResult q;
    question.at("kind").get_to(q.kind);
    question.at("prompt").get_to(q.prompt);
    question.at("expected").get_to(q.expected);
    question.at("answer").get_to(q.answer);
    for (const std::string& metric : metrics_) {
      const Json& score = question.at("scores").at(metric);
      q.scores.push_back(score.is_null() ? no_score() : score.get<double>());
    }
    r.questions.push_back(std::move(q));
  }
  return r;
}

Json Results::to_json(const Result& r) const {
  Json questions = Json::array();
  for (const QuestionResult& q : r.questions) {
    Json scores = Json::object();
    for (size_t i = 0; i < metrics_.size(); i++)
      scores[metrics_[i]] = std::isnan(q.scores[i]) ? Json() : Json(q.scores[i]);
    questions.push_back({{"kind", q.kind},
                         {"prompt", q.prompt},
                         {"expected", q.expected},
                         {"answer", q.answer},
                         {"scores", scores}});
  }
  return {{"length", r.length},        {"example", r.example},    {"policy", r.cell.policy},
          {"keep", r.cell.keep},       {"method", r.cell.method}, {"adapter", r.cell.adapter},
          {"questions", questions},    {"edit_ms", r.edit_ms},    {"answer_ms", r.answer_ms},
          {"bytes", r.bytes},          {"resolved", r.policy},    {"read_ms", r.read_ms},
          {"peak_bytes", r.peak_bytes}};
}

bool Results::have(int length, int example, const Cell& cell) const {
  return results_.contains(key_of(length, example, cell));
}

void Results::add(const Result& result) {
  write(to_json(result));
  results_.insert_or_assign(key_of(result.length, result.example, result.cell), result);
}

const Result& Results::get(int length, int example, const Cell& cell) const {
  const auto found = results_.find(key_of(length, example, cell));
  if (found == results_.end()) {
    fail(ErrorCode::not_found, "eval", path_, " has no result of ", cell.text(), ", length ", length,
         ", example ", example);
  }
  return found->second;
}

void Results::write(const Json& line) {
  // A cut token may be half a character.
  file_ << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  if (!file_) fail(ErrorCode::io, "eval", "cannot write ", path_);
}

Json all_results(const Results& results, const Grid& grid, const Json& setting) {
  Json list = Json::array();
  for (const int length : grid.lengths) {
    for (int i = 0; i < grid.examples; i++) {
      for (const Cell& cell : grid.cells) list.push_back(results.to_json(results.get(length, i, cell)));
    }
  }
  return {{"setting", setting}, {"results", list}};
}

}  // namespace kvedit::eval
