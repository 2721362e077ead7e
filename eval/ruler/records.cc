// RULER's own files: a prompt as its generators write it, and the references.
#include "eval/ruler/records.h"

#include <array>
#include <nlohmann/json.hpp>

#include "tools/text.h"

namespace kvedit::eval::ruler {
namespace {

// How a question begins, by the task's wording.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kQuestions = {{
    {"niah", "\nWhat are all the special magic "},
    {"niah", "\nWhat is the special magic "},
    {"variable_tracking", "\nQuestion: Find all variables that are assigned the value "},
    {"common_words_extraction", "\nQuestion: What are the 10 most common words in the above list?"},
    {"freq_words_extraction", "\nQuestion: Do not provide any explanation. Please ignore the dots '....'."},
    {"qa", "\n\nAnswer the question based on the given documents. Only give me the answer"},
}};

}  // namespace

Record parse_record(std::string_view line) {
  try {
    const auto json = nlohmann::json::parse(line);
    Record record;
    const std::string input = json.at("input");
    record.prompt.prefix = json.value("answer_prefix", "");
    if (json.contains("outputs"))
      record.prompt.references = json["outputs"];
    else
      record.prompt.references = {json.at("output").get<std::string>()};
    if (record.prompt.references.empty()) fail(ErrorCode::corrupt, "eval", "no outputs");
    size_t at = 0;
    for (const auto& [name, opening] : kQuestions) {
      const size_t found = input.rfind(opening);
      if (found == std::string::npos || found < at) continue;
      at = found;
      record.wording = name;
    }
    if (at == 0) fail(ErrorCode::corrupt, "eval", "the input ends with no question of RULER's");
    record.prompt.context = input.substr(0, at);
    record.prompt.question = input.substr(at);
    return record;
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::corrupt, "eval", error.what());
  }
}

}  // namespace kvedit::eval::ruler
