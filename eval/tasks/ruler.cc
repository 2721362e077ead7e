// RULER (arXiv 2404.06654): its 13 tasks, made here or read from its own files.
#include "eval/ruler/ruler.h"

#include <algorithm>
#include <fstream>

#include "eval/chat.h"
#include "eval/metrics/match.h"
#include "eval/records.h"
#include "eval/ruler/qa.h"
#include "eval/ruler/records.h"
#include "eval/task.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace ruler {
namespace {

constexpr uint64_t kQuestionOrder = 0x72756c6572;  // the seed's second half for the order of questions

std::vector<std::string> choices() {
  std::vector<std::string> names = {"all"};
  for (const Synthetic& task : synthetic_tasks()) names.emplace_back(task.name);
  names.insert(names.end(), {"qa_1", "qa_2"});
  return names;
}

// A document of JSON, as against lines of it.
bool is_document(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  if (!file || !std::getline(file, line)) fail(ErrorCode::not_found, "eval", "cannot read ", path);
  const auto first = nlohmann::json::parse(line, nullptr, false);
  return first.is_discarded() || !first.is_object() || first.contains("data");
}

class Ruler final : public Task {
 public:
  explicit Ruler(const TaskOptions& options)
      : haystack_(options.haystack), order_(options.order), chat_(options.parameters.integer("chat") != 0) {
    for (const std::string& path : options.data) {
      if (is_document(path))
        read_set(path, options.strict);
      else
        read_records(
            path, options.strict, [&](std::string_view line) { records_.push_back(parse_record(line)); },
            notes_);
    }
    choose(options.parameters.text("task"));
  }

  TaskInfo info() const override {
    return {.name = "ruler",
            .description = records_.empty() ? "RULER's tasks, made here" : "RULER's tasks, from its file",
            .protocol = cat(describe(order_ == Order::own ? Order::question_after : order_),
                            records_.empty() ? "; lengths are RULER's: prompt and answer" : ""),
            .metrics = {{"string match", Mean::share}},
            .sized = records_.empty(),
            .examples = static_cast<int>(records_.size()),
            .able = 0.5,
            .notes = notes_};
  }

  Example make(const Model& model, const ExampleSpec& spec) const override {
    if (!records_.empty()) {
      const Record& record = records_[spec.index];
      return example(
          tokens_of(model, {}, record.prompt.context, record.prompt.question, record.prompt.prefix),
          record.prompt, record.wording, record.wording);
    }
    const std::string& kind = kinds_[spec.index % kinds_.size()];
    const ChatFormat format = chat_ ? chat_format(model) : ChatFormat{};
    const auto tokens = [&](const Prompt& prompt) {
      return tokens_of(model, format, prompt.context, prompt.question, prompt.prefix);
    };
    const Count count = [&](const Prompt& prompt) { return tokens(prompt).size(); };
    for (const Synthetic& task : synthetic_tasks()) {
      if (task.name != kind) continue;
      const Prompt prompt = ruler::make(task, {vocabulary_, *haystack_, count, spec.length, spec.random()});
      return example(tokens(prompt), prompt, kind, task.wording);
    }
    const Prompt prompt = answerable(kind, count, spec);
    return example(tokens(prompt), prompt, kind, "qa");
  }

  std::vector<double> score(const Question& question, const Answer& answer) const override {
    const std::string text = trimmed_answer(answer.text);
    const bool any = question.kind.starts_with("qa") || question.kind.starts_with("all/qa");
    return {any ? string_match_part(text, question.expected) : string_match_all(text, question.expected)};
  }

 private:
  void read_set(const std::string& path, bool strict) {
    const auto file = nlohmann::json::parse(std::ifstream(path, std::ios::binary), nullptr, false);
    if (file.is_discarded()) fail(ErrorCode::corrupt, "eval", path, " is neither JSON nor lines of it");
    size_t bad = 0;
    std::string first;
    try {
      sets_.push_back(read_qa(file, [&](const std::string& what) {
        if (strict) fail(ErrorCode::corrupt, "eval", what);
        if (bad++ == 0) first = what;
      }));
    } catch (const Error& error) {
      fail(error.code(), "eval", path, ": ", error.message());
    }
    if (bad > 0) notes_.push_back(cat(path, ": ", bad, " malformed records left out, the first: ", first));
    if (sets_.back().questions.empty()) fail(ErrorCode::invalid_argument, "eval", path, " has no questions");
  }

  void choose(const std::string& chosen) {
    if (!records_.empty()) {
      if (chosen != "all" || !sets_.empty())
        fail(ErrorCode::invalid_argument, "eval",
             "RULER's own files say their task: no task=, no other files");
      return;
    }
    for (const Synthetic& task : synthetic_tasks()) kinds_.emplace_back(task.name);
    for (const QaSet& set : sets_) kinds_.push_back(set.name);
    if (chosen == "all") return;
    if (std::find(kinds_.begin(), kinds_.end(), chosen) == kinds_.end()) {
      fail(ErrorCode::invalid_argument, "eval", chosen, " needs --data FILE: the questions of ",
           chosen == "qa_1" ? "SQuAD" : "HotpotQA");
    }
    kinds_ = {chosen};
  }

  // The index-th question, in random order, whose documents fit.
  Prompt answerable(const std::string& kind, const Count& count, const ExampleSpec& spec) const {
    const QaSet& set =
        *std::find_if(sets_.begin(), sets_.end(), [&](const QaSet& s) { return s.name == kind; });
    const size_t room = spec.length - std::min(spec.length, wording("qa").answer_tokens);
    size_t skip = spec.index / kinds_.size(), fitting = 0;
    for (const size_t q :
         Random{spec.seed, kQuestionOrder}.sample(set.questions.size(), set.questions.size())) {
      const auto prompt = ruler::qa(set, q, count, room, spec.random());
      if (!prompt) continue;
      if (fitting++ == skip) return *prompt;
    }
    fail(ErrorCode::out_of_range, "eval", "only ", fitting, " questions of ", kind, " fit ", spec.length,
         " tokens within 2 % with their documents");
  }

  Example example(const PromptTokens& tokens, const Prompt& prompt, std::string_view kind,
                  std::string_view words) const {
    Example result;
    result.context = tokens.context;
    Question question = ordered_question(tokens, order_);
    question.kind = kinds_.size() <= 1 ? std::string(kind) : cat("all/", kind);
    question.expected = prompt.references;
    question.answer_tokens = wording(words).answer_tokens;
    question.stop.clear();
    result.questions.push_back(std::move(question));
    return result;
  }

  std::shared_ptr<const Haystack> haystack_;
  Order order_;
  bool chat_;
  Vocabulary vocabulary_;
  std::vector<QaSet> sets_;
  std::vector<Record> records_;
  std::vector<std::string> kinds_;
  std::vector<std::string> notes_;
};

}  // namespace
}  // namespace ruler

TaskEntry ruler_task() {
  return {.name = "ruler",
          .description =
              "RULER's 13 tasks by turns; with --data, its qa_1 (SQuAD's file), qa_2 (HotpotQA's), or the "
              "examples of its own JSONL",
          .parameters =
              {{.name = "task", .value = 0, .description = "one of them alone", .choices = ruler::choices()},
               {"chat", 1, "1: in the model's chat format, 0: as plain text", 0, 1}},
          .data = Data::optional,
          .lengths = {4096},
          .quick_examples = 11,
          .open = [](const TaskOptions& options) -> std::unique_ptr<Task> {
            return std::make_unique<ruler::Ruler>(options);
          }};
}

}  // namespace kvedit::eval
