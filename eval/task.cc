#include "eval/task.h"

#include <limits>

#include "tools/parameters.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

void set(Parameters& parameters, const NamedText& named) {
  try {
    parameters.read(named.parameters);
  } catch (const Error& error) {
    fail(error.code(), "eval", named.name, ": ", error.message());
  }
}

}  // namespace

const std::vector<TaskEntry>& tasks() {
  static const std::vector<TaskEntry> table = {
      text_task(),       niah_task(),     niah_noise_task(),      niah_keys_task(),
      erase_niah_task(), erase_qa_task(), erase_injection_task(), ruler_task(),
      longbench_task()};
  return table;
}

const TaskEntry& find_task(std::string_view text) {
  for (const TaskEntry& task : tasks()) {
    if (task.name == split_name(text).name) return task;
  }
  fail(ErrorCode::not_found, "eval", "no task '", split_name(text).name, "'; there are ",
       join(tasks(), &TaskEntry::name));
}

std::unique_ptr<Task> open_task(std::string_view text, TaskOptions options) {
  const TaskEntry& entry = find_task(text);
  if (entry.data == Data::needed && options.data.empty()) {
    fail(ErrorCode::invalid_argument, "eval", entry.name, " needs --data FILE: ", entry.description);
  }
  if (entry.data == Data::none && !options.data.empty())
    fail(ErrorCode::invalid_argument, "eval", entry.name, " reads no --data: ", options.data.front());
  options.parameters = Parameters("eval", entry.parameters);
  set(options.parameters, split_name(text));
  return entry.open(options);
}

double no_score() { return std::numeric_limits<double>::quiet_NaN(); }

std::vector<Token> tokens_from_start(const Model& model, std::string_view text) {
  std::vector<Token> tokens;
  if (const auto begin = model.begin_token()) tokens.push_back(*begin);
  const TextPart part = {text};
  const std::vector<Token> more = model.tokenize({&part, 1}, tokens.empty() ? kNoToken : tokens.back());
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

Question ordered_question(const Model& model, Order order, std::string_view question,
                          std::string_view opening) {
  const std::string_view parts[] = {question, opening};
  const size_t first = order == Order::answer_first ? 2 : order == Order::question_first ? 1 : 0;
  Question ordered;
  for (size_t i = 0; i < 2; i++) {
    const std::vector<Token> tokens = parts[i].empty() ? std::vector<Token>() : model.tokenize(parts[i]);
    std::vector<Token>& into = i < first ? ordered.before : ordered.after;
    into.insert(into.end(), tokens.begin(), tokens.end());
  }
  return ordered;
}

std::string describe(Order order) {
  switch (order) {
    case Order::answer_first:
      return "context, question and the beginning of the answer are read before the cache is edited";
    case Order::question_first:
      return "context and question are read before the cache is edited";
    default:
      return "the context alone is read before the cache is edited, the question afterwards";
  }
}

}  // namespace kvedit::eval
