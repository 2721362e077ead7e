// Questions over many passages, one of which asserts a wrong answer: a copy of the supporting passage with
// the answer replaced by another entity of its kind. That copy is erased after all was read. One of the tests
// of KVEraser (arXiv 2606.17034), on MuSiQue, 2WikiMultiHopQA, HotpotQA and IIRC.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "eval/entities.h"
#include "eval/metrics/similarity.h"
#include "eval/qa_files.h"
#include "eval/task.h"

namespace kvedit::eval {
namespace {

constexpr std::string_view kPassagesOpening = "Answer the question from these passages, in a few words.\n\n";
constexpr std::string_view kPassagesClosing = "That was the last passage.";
constexpr int kQaAnswerTokens = 24;

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

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

class EraseQa final : public Task {
 public:
  explicit EraseQa(const TaskOptions& options)
      : order_(options.order), single_hop_(options.parameters.text("hops") == "single") {
    for (const std::string& path : options.data) {
      QaFile file = read_qa(read(path), path, options.strict, single_hop_);
      notes_.push_back(cat(path.substr(path.rfind('/') + 1), ": ", file.items.size(), " questions; ",
                           file.unusable, " records answered by yes or no, or that no passage states"));
      if (file.malformed > 0)
        notes_.push_back(
            cat(file.malformed, " malformed records left out; the first: ", file.first_malformed));
      for (QaItem& item : file.items) {
        pool_.push_back({item.answers.front(), entity_kind(item.question, item.answers.front())});
        items_.push_back(std::move(item));
      }
    }
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
            .examples = static_cast<int>(items_.size()),
            .able = 0.2,
            .notes = notes_};
  }

  Example make(const Model& model, const Wish& wish) const override {
    // Every question comes once, in an order of the seed.
    const size_t index = Draws{wish.seed}.some(items_.size(), items_.size()).at(wish.index);
    const QaItem& item = items_[index];
    Draws draws = wish.draws();
    const Entity truth = pool_[index];
    const std::string wrong = another_entity(truth, pool_, draws);
    if (wrong.empty()) {
      fail(ErrorCode::out_of_range, "eval", "the files have no other entity to put in the place of \"",
           truth.text, "\"");
    }
    Example example = read_passages(model, item, truth.text, wrong, wish.length, draws);
    const std::vector<Order> orders = order_ == Order::own
                                          ? std::vector{Order::question_after, Order::question_first}
                                          : std::vector{order_};
    for (const Order order : orders) {
      Question question = place(model, order, cat("\n\nQuestion: ", item.question, "\nAnswer:"), "");
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
    const bool leaks = answer.text.find(question.wrong) != std::string::npos;
    return {f1, exact, leaks ? 1.0 : 0.0, answer.same ? 1.0 : 0.0, answer.kl};
  }

 private:
  // Both copies of the supporting passage, and others of the item while they fit, in random order.
  static Example read_passages(const Model& model, const QaItem& item, const std::string& truth,
                               const std::string& wrong, int length, Draws& draws) {
    const Passage& supporting = item.passages[item.supporting];
    std::vector<std::vector<Token>> pieces = {
        model.tokenize(passage_text({supporting.title, replaced(supporting.text, truth, wrong)})),
        model.tokenize(passage_text(supporting))};
    Example example{tokens_from_start(model, kPassagesOpening), {}, {}};
    const std::vector<Token> closing = model.tokenize(kPassagesClosing);
    size_t tokens = example.context.size() + closing.size() + pieces[0].size() + pieces[1].size();
    const auto room = static_cast<size_t>(length);
    if (tokens > room) {
      fail(ErrorCode::out_of_range, "eval", "length ", length, " is too short for the passages of \"",
           item.question, "\": ", tokens, " tokens");
    }
    for (const size_t i : draws.some(item.passages.size(), item.passages.size())) {
      if (i == item.supporting) continue;
      std::vector<Token> piece = model.tokenize(passage_text(item.passages[i]));
      if (tokens + piece.size() > room) continue;
      tokens += piece.size();
      pieces.push_back(std::move(piece));
    }
    for (const size_t i : draws.some(pieces.size(), pieces.size())) {
      const auto begin = static_cast<int>(example.context.size());
      example.context.insert(example.context.end(), pieces[i].begin(), pieces[i].end());
      if (i == 0) example.erased = {{begin, static_cast<int>(example.context.size())}};
    }
    example.context.insert(example.context.end(), closing.begin(), closing.end());
    return example;
  }

  Order order_;
  bool single_hop_;
  std::vector<QaItem> items_;
  std::vector<Entity> pool_;  // [items]: their answers
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
