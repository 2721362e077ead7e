// libFuzzer: any bytes as a line of LongBench's or RULER's files, or as a file of questions, give an Error or
// a record that can be asked and scored, never a crash.
#include "eval/longbench/longbench.h"
#include "eval/metrics/match.h"
#include "eval/ruler/qa.h"
#include "eval/ruler/records.h"
#include "kvedit/error.h"

namespace kvedit::eval {
namespace {

void read_line(std::string_view line) {
  try {
    const ruler::Record record = ruler::parse_record(line);
    (void)string_match_all(trimmed_answer(record.prompt.context), record.prompt.references);
  } catch (const Error&) {
  }
  try {
    const longbench::Record record = longbench::parse_record(line, "qasper");
    const longbench::DataSet& set = longbench::find_data_set(record.data_set);
    if (!set.chinese)
      (void)longbench::score(set, record.context.substr(0, 2000), record.answers, record.classes, nullptr);
  } catch (const Error&) {
  }
}

void read_questions(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return;
  try {
    const ruler::QaSet set = ruler::read_qa(json, [](const std::string&) {});
    const ruler::Count count = [](const ruler::Prompt& prompt) { return prompt.context.size() + 100; };
    if (!set.questions.empty()) (void)ruler::qa(set, 0, count, 1000, Random{1});
  } catch (const Error&) {
  }
}

}  // namespace
}  // namespace kvedit::eval

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  kvedit::eval::read_line(text);
  kvedit::eval::read_questions(text);
  return 0;
}
