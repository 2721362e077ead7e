// Questions over many passages, one of which asserts a wrong answer: a copy of the supporting passage with
// the answer replaced by another entity of its kind. That copy is erased after all was read. One of the tests
// of KVEraser (arXiv 2606.17034), on MuSiQue, 2WikiMultiHopQA, HotpotQA and IIRC. Questions of which no copy
// contradicts the right answer, and no other, are left out and counted.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "eval/entities.h"
#include "eval/metrics/similarity.h"
#include "eval/qa_files.h"
#include "eval/task.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

constexpr std::string_view kPassagesOpening = "Answer the question from these passages, in a few words.\n\n";
constexpr std::string_view kPassagesClosing = "That was the last passage.";
constexpr int kQaAnswerTokens = 24;
constexpr size_t kWrongAnswers = 8;  // of a question, to draw one from
constexpr uint64_t kWrongSeed = 0x77726f6e67;

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::not_found, "eval", "cannot read ", path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string passage_text(const Passage& passage) {
  return cat("Passage: ", passage.title, "\n", passage.text, "\n\n");
}

class EraseQa final : public Task {
 public:
  explicit EraseQa(const TaskOptions& options)
      : order_(options.order), single_hop_(options.parameters.text("hops") == "single") {
    std::vector<QaItem> items;
    LeftOut left_out;
    for (const std::string& path : options.data) {
      QaFile file = read_qa(read(path), path, options.strict, single_hop_);
      if (file.malformed > 0)
        notes_.push_back(
            cat(file.malformed, " malformed records left out; the first: ", file.first_malformed));
      for (const auto& [why, count] : file.left_out) left_out[why] += count;
      std::move(file.items.begin(), file.items.end(), std::back_inserter(items));
    }
    choose(std::move(items), left_out);
    notes_.push_back(cat(usable_.size(), " questions"));
    for (const auto& [why, count] : left_out) notes_.back() += cat("; left out ", count, " ", why);
    if (usable_.empty()) fail(ErrorCode::invalid_argument, "eval", "nothing to ask of ", notes_.back());
  }

  TaskInfo info() const override {
    return {.name = "erase-qa",
            .description = single_hop_ ? "Single-hop questions; a passage with a wrong answer is erased"
                                       : "Multi-document questions; a passage with a wrong answer is erased",
            .protocol =
                "fresh: the question is read after the erase; stale: before it (or as the order asked for "
                "says); SQuAD's exact match and F1; KL on the exact cache's greedy answer",
            .metrics = {{"F1", Mean::share},
                        {"exact match", Mean::share},
                        {"leaks", Mean::share},
                        {"answers as exact", Mean::share},
                        {"KL to the exact cache", Mean::arithmetic}},
            .examples = static_cast<int>(usable_.size()),
            .able = 0.2,
            .notes = notes_};
  }

  Example make(const Model& model, const ExampleSpec& spec) const override {
    // Every question comes once, in an order of the seed.
    const Usable& usable = usable_[Random{spec.seed}.sample(usable_.size(), usable_.size()).at(spec.index)];
    const QaItem& item = usable.item;
    Random random = spec.random();
    const std::string& wrong = usable.wrong[random.below(usable.wrong.size())];
    const Passage copy = contradicted(item.passages[item.supporting], entity_of(item), wrong).value();
    Example example = read_passages(model, item, copy, spec.length, random);
    const std::vector<Order> orders = order_ == Order::own
                                          ? std::vector{Order::question_after, Order::question_first}
                                          : std::vector{order_};
    for (const Order order : orders) {
      Question question =
          ordered_question(model, order, cat("\n\nQuestion: ", item.question, "\nAnswer:"), "");
      question.kind = order == Order::question_after ? "fresh" : "stale";
      question.expected = item.answers;
      question.wrong = wrong;
      question.answer_tokens = kQaAnswerTokens;
      question.compared = true;
      example.questions.push_back(std::move(question));
    }
    return example;
  }

  std::vector<double> score(const Question& question, const Answer& answer) const override {
    double f1 = 0, exact = 0;
    for (const std::string& expected : question.expected) {
      f1 = std::max(f1, qa_f1(answer.text, expected));
      exact = std::max(exact, qa_exact(answer.text, expected) ? 1.0 : 0.0);
    }
    const bool leaks = says(answer.text, question.wrong);
    return {f1, exact, leaks ? 1.0 : 0.0, answer.same ? 1.0 : 0.0, answer.kl};
  }

 private:
  struct Usable {
    QaItem item;
    std::vector<std::string> wrong;  // answers that the copy may assert
  };

  static Entity entity_of(const QaItem& item) {
    return {item.answers, entity_kind(item.question, item.answers.front())};
  }

  // Items with the wrong answers that fit them: no text of theirs says one, and the copy that asserts it no
  // longer states the truth.
  void choose(std::vector<QaItem> items, LeftOut& left_out) {
    std::vector<Entity> pool;
    for (const QaItem& item : items) pool.push_back(entity_of(item));
    for (size_t i = 0; i < items.size(); i++) {
      Usable usable{std::move(items[i]), {}};
      const QaItem& item = usable.item;
      std::vector<WordList> texts = {words_of(item.question)};
      for (const Passage& passage : item.passages)
        texts.push_back(words_of(passage.title + "\n" + passage.text));
      Random random{kWrongSeed, i};
      usable.wrong = other_answers(pool[i], pool, texts, kWrongAnswers, random);
      if (usable.wrong.empty()) {
        left_out["for which the files have no other answer"]++;
        continue;
      }
      std::erase_if(usable.wrong, [&](const std::string& wrong) {
        return !contradicted(item.passages[item.supporting], pool[i], wrong);
      });
      if (usable.wrong.empty()) {
        left_out["whose wrong passage would still state the truth"]++;
        continue;
      }
      usable_.push_back(std::move(usable));
    }
  }

  // Both copies of the supporting passage, and others of the item while they fit, in random order.
  static Example read_passages(const Model& model, const QaItem& item, const Passage& wrong, int length,
                               Random& random) {
    const Passage& supporting = item.passages[item.supporting];
    std::vector<std::vector<Token>> pieces = {model.tokenize(passage_text(wrong)),
                                              model.tokenize(passage_text(supporting))};
    Example example{tokens_from_start(model, kPassagesOpening), {}, {}};
    const std::vector<Token> closing = model.tokenize(kPassagesClosing);
    size_t tokens = example.context.size() + closing.size() + pieces[0].size() + pieces[1].size();
    const auto room = static_cast<size_t>(length);
    if (tokens > room) {
      fail(ErrorCode::out_of_range, "eval", "length ", length, " is too short for the passages of \"",
           item.question, "\": ", tokens, " tokens");
    }
    for (const size_t i : random.sample(item.passages.size(), item.passages.size())) {
      if (i == item.supporting) continue;
      std::vector<Token> piece = model.tokenize(passage_text(item.passages[i]));
      if (tokens + piece.size() > room) continue;
      tokens += piece.size();
      pieces.push_back(std::move(piece));
    }
    for (const size_t i : random.sample(pieces.size(), pieces.size())) {
      const auto begin = static_cast<int>(example.context.size());
      example.context.insert(example.context.end(), pieces[i].begin(), pieces[i].end());
      if (i == 0) example.erased = {{begin, static_cast<int>(example.context.size())}};
    }
    example.context.insert(example.context.end(), closing.begin(), closing.end());
    return example;
  }

  Order order_;
  bool single_hop_;
  std::vector<Usable> usable_;
  std::vector<std::string> notes_;
};

}  // namespace

TaskEntry erase_qa_task() {
  return {.name = "erase-qa",
          .description =
              "Multi-document questions of MuSiQue, HotpotQA, 2WikiMultiHopQA or IIRC files; a passage "
              "with a wrong answer is erased; contexts have at most the length",
          .parameters = {{.name = "hops",
                          .description = "single: those of MuSiQue's decomposition",
                          .choices = {"multi", "single"}}},
          .data = Data::needed,
          .erases = true,
          .evicts = false,
          .lengths = {3072},
          .open = [](const TaskOptions& options) -> std::unique_ptr<Task> {
            return std::make_unique<EraseQa>(options);
          }};
}

}  // namespace kvedit::eval
