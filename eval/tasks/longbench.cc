// LongBench (arXiv 2308.14508): its official files, prompts and scores. Prompts past the limit lose their
// middle, as there.
#include "eval/longbench/longbench.h"

#include <filesystem>
#include <map>

#include "eval/chat.h"
#include "eval/fill.h"
#include "eval/metrics/text.h"
#include "eval/records.h"
#include "eval/task.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace longbench {
namespace {

constexpr std::string_view kContext = "{context}";

class LongBench final : public Task {
 public:
  explicit LongBench(const TaskOptions& options)
      : order_(options.order),
        limit_(options.parameters.integer("limit")),
        chat_(options.parameters.integer("chat") != 0) {
    for (const std::string& path : options.data) {
      const std::string name = std::filesystem::path(path).stem();
      read_records(
          path, options.strict, [&](std::string_view line) { add(parse_record(line, name)); }, notes_);
    }
    if (records_.empty()) fail(ErrorCode::invalid_argument, "eval", "no records in ", options.data.front());
    for (const Record& record : records_) {
      if (find_data_set(record.data_set).chinese && !jieba_) jieba_ = Jieba::load();
    }
  }

  TaskInfo info() const override {
    TaskInfo info{
        .name = "longbench",
        .description = "LongBench's data sets",
        .protocol = cat(describe(order_ == Order::own ? Order::question_after : order_),
                        "; prompts lose their middle past ",
                        limit_ > 0 ? cat(limit_, " tokens") : std::string("what the model can read")),
        .metrics = {{"score", Mean::share}},
        .sized = false,
        .examples = static_cast<int>(records_.size()),
        .notes = notes_};
    for (const auto& [name, count] : counts_)
      info.notes.push_back(cat(name, ": ", count, " records, score: ", find_data_set(name).metric));
    return info;
  }

  Example make(const Model& model, const ExampleSpec& spec) const override {
    const Record& record = records_[spec.index];
    const DataSet& set = find_data_set(record.data_set);
    const ChatFormat format = chat_ && set.chat ? chat_format(model) : ChatFormat{};
    const Fields fields = {{"context", record.context}, {"input", record.input}};
    const std::string text = shortened(model, fill(set.prompt, fields), room(model, set, format));
    const std::string asked = fill(set.prompt.substr(set.prompt.find(kContext) + kContext.size()), fields);
    if (!text.ends_with(asked)) {
      fail(ErrorCode::out_of_range, "eval", "the question of record ", spec.index, " of ", set.name,
           " does not fit half the limit");
    }
    const PromptTokens tokens =
        tokens_of(model, format, std::string_view(text).substr(0, text.size() - asked.size()), asked, "");
    Example example;
    example.context = tokens.context;
    Question question = ordered_question(tokens, order_);
    question.kind = counts_.size() == 1 ? record.data_set : cat("all/", record.data_set);
    question.expected = record.answers;
    question.answer_tokens = set.answer_tokens;
    question.stop.clear();
    // The official script ends it at a line break, unless it is the first token.
    if (set.name == "samsum") question.stop = {"\n"}, question.begins = true;
    example.questions.push_back(std::move(question));
    return example;
  }

  std::vector<double> score(const Question& question, const Answer& answer) const override {
    const std::string name = question.kind.substr(question.kind.find('/') + 1);
    return {longbench::score(find_data_set(name), answer.text, question.expected, classes_.at(name),
                             jieba_ ? &*jieba_ : nullptr)};
  }

 private:
  void add(Record record) {
    try {
      find_data_set(record.data_set);
    } catch (const Error& error) {
      fail(ErrorCode::corrupt, "eval", error.message());
    }
    counts_[record.data_set]++;
    if (auto& classes = classes_[record.data_set]; classes.empty()) classes = record.classes;
    records_.push_back(std::move(record));
  }

  // Tokens of the prompt, the chat format's not counted.
  size_t room(const Model& model, const DataSet& set, const ChatFormat& format) const {
    const size_t around = tokens_of(model, format, "", "", "").size();
    const auto context = static_cast<size_t>(model.info().context_length);
    if (context <= around + set.answer_tokens)
      fail(ErrorCode::out_of_range, "eval", "a context of ", context, " tokens has no room for ", set.name);
    const size_t most = context - around - set.answer_tokens;
    return limit_ > 0 ? std::min<size_t>(limit_, most) : most;
  }

  // The text of the first and the last half of the tokens there is room for.
  static std::string shortened(const Model& model, const std::string& text, size_t room) {
    std::vector<Token> tokens = tokens_from_start(model, text);
    if (tokens.size() <= room) return text;
    const auto half = static_cast<std::ptrdiff_t>(room / 2);
    const bool begin = model.is_control(tokens.front());
    // A cut may go through a character.
    const auto whole = [&](const std::vector<Token>& part) {
      return utf8(code_points(model.detokenize(part)));
    };
    return whole({tokens.begin() + (begin ? 1 : 0), tokens.begin() + half}) +
           whole({tokens.end() - half, tokens.end()});
  }

  Order order_;
  int limit_;
  bool chat_;
  std::vector<Record> records_;
  std::map<std::string, int> counts_;                        // by data set
  std::map<std::string, std::vector<std::string>> classes_;  // by data set
  std::optional<Jieba> jieba_;
  std::vector<std::string> notes_;
};

}  // namespace
}  // namespace longbench

TaskEntry longbench_task() {
  return {.name = "longbench",
          .description = "LongBench's 21 data sets from their official JSONL, with its prompts and scores",
          .parameters = {{"limit", 0, "tokens of a prompt, 0: what the model can read", 0, 1 << 24},
                         {"chat", 1,
                          "1: in the model's chat format where LongBench has it so, 0: as plain text", 0, 1}},
          .data = Data::needed,
          .open = [](const TaskOptions& options) -> std::unique_ptr<Task> {
            return std::make_unique<longbench::LongBench>(options);
          }};
}

}  // namespace kvedit::eval
