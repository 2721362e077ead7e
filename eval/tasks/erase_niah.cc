// KVEraser's in-domain task (arXiv 2606.17034): numbers with keys stand in a long text, two of them are
// erased after it was read, and erased as well as retained ones are asked for.
//   conflicting  an erased and a right number for the same key
//   unique       only the erased text has the number
//   retained     nothing about it was erased
// Fresh questions are asked after the erase; stale ones were read, up to the value, while the erased text
// could still be seen. Beside these, the text itself: the tokens right after an erased span, and those after
// a stale suffix.
#include <algorithm>

#include "eval/fit.h"
#include "eval/needles.h"
#include "eval/task.h"
#include "eval/wording.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

constexpr std::string_view kTextClosing = "\n\nThat is the end of the text.";
constexpr int kForced = 64;        // tokens of the text
constexpr int kStaleSuffix = 256;  // tokens
constexpr int kMostDepth = 95;     // percent

struct Built {
  std::vector<Token> tokens;
  std::vector<Span> needles;  // [needles]
};

// Pieces are tokenized one by one, so that spans begin and end between tokens.
Built build(const Model& model, std::string_view filler, const std::vector<Needle>& needles) {
  Built built{tokens_from_start(model, kNeedleOpening), {}};
  const auto add = [&](std::string_view text) {
    if (text.empty()) return;
    const std::vector<Token> tokens = model.tokenize(text);
    built.tokens.insert(built.tokens.end(), tokens.begin(), tokens.end());
  };
  size_t done = 0;
  for (const Needle& needle : needles) {
    const auto depth =
        static_cast<size_t>(needle.depth * kMostDepth / 100 * static_cast<double>(filler.size()));
    const size_t end = std::max(done, sentence_end(filler, depth));
    add(filler.substr(done, end - done));
    const auto begin = static_cast<int>(built.tokens.size());
    add(" " + needle.sentence());
    built.needles.push_back({begin, static_cast<int>(built.tokens.size())});
    done = end;
  }
  add(filler.substr(done));
  add(kTextClosing);
  return built;
}

// What follows `gap` tokens after an erased span, where 64 tokens of text without another erased one do.
void add_text_question(Example& example, int gap, const std::string& kind) {
  for (const Span& span : example.erased) {
    const int cut = span.end + gap + 1, end = cut + kForced;
    const bool clear = std::all_of(example.erased.begin(), example.erased.end(),
                                   [&](const Span& other) { return other.end < cut || other.begin >= end; });
    if (!clear || end > static_cast<int>(example.context.size())) continue;
    Question question;
    question.kind = kind;
    question.cut = cut;
    question.continuation = {example.context.begin() + cut, example.context.begin() + end};
    example.questions.push_back(std::move(question));
    return;
  }
}

class EraseNiah final : public Task {
 public:
  explicit EraseNiah(const TaskOptions& options)
      : order_(options.order),
        haystack_(options.haystack),
        needles_(options.parameters.integer("needles")),
        noise_(options.parameters.text("filler") == "noise") {}

  TaskInfo info() const override {
    return {.name = "erase-niah",
            .description = cat("Two of ", needles_, " numbers in ", noise_ ? "repeated noise" : "prose",
                               " are erased after the text was read"),
            .protocol =
                "fresh: the question is read after the erase; stale: before it, up to the value (or as the "
                "order asked for says); neighbours and after 256: tokens of the text that follow an erased "
                "span, at once or after 256 stale tokens; KL on the exact cache's greedy answer",
            .metrics = {{"right", Mean::share},
                        {"leaks", Mean::share},
                        {"answers as exact", Mean::share},
                        {"KL to the exact cache", Mean::arithmetic}},
            .able = 0.5};
  }

  Example make(const Model& model, const ExampleSpec& spec) const override {
    Random random = spec.random();
    std::vector<Needle> needles = draw_needles(needles_, random);
    const std::vector<size_t> roles = random.sample(needles.size(), needles.size());
    const size_t wrong = roles[0], right = roles[1], unique = roles[2], retained = roles[3];
    needles[right].key = needles[wrong].key;
    const std::string filler = draw_filler(noise_, *haystack_, spec.length * kMostBytesAToken, random);
    const auto built = [&](size_t bytes) { return build(model, words(filler, 0, bytes), needles); };
    Built text =
        built(fit([&](size_t bytes) { return built(bytes).tokens.size(); }, filler.size(), spec.length));
    Example example{std::move(text.tokens), {text.needles[wrong], text.needles[unique]}, {}};
    std::sort(example.erased.begin(), example.erased.end(), [](Span a, Span b) { return a.begin < b.begin; });
    for (const Order order : orders()) {
      const std::string when = order == Order::question_after ? "fresh/" : "stale/";
      const auto ask = [&](const char* kind, const Needle& needle, const char* expected, const char* leak) {
        Question question = ordered_question(model, order, needle.question(), needle.opening());
        question.kind = when + kind;
        if (*expected) question.expected = {expected};
        question.wrong = leak;
        question.answer_tokens = kNeedleAnswerTokens;
        question.compared = true;
        example.questions.push_back(std::move(question));
      };
      ask("conflicting", needles[right], needles[right].value.c_str(), needles[wrong].value.c_str());
      ask("unique", needles[unique], "", needles[unique].value.c_str());
      ask("retained", needles[retained], needles[retained].value.c_str(), "");
    }
    add_text_question(example, 0, "neighbours");
    add_text_question(example, kStaleSuffix, cat("after ", kStaleSuffix));
    return example;
  }

  std::vector<double> score(const Question& question, const Answer& answer) const override {
    if (!question.continuation.empty()) return {no_score(), no_score(), no_score(), answer.kl};
    const auto said = [&](const std::string& value) { return says(answer.text, value) ? 1.0 : 0.0; };
    return {question.expected.empty() ? no_score() : said(question.expected.front()),
            question.wrong.empty() ? no_score() : said(question.wrong), answer.same ? 1.0 : 0.0, answer.kl};
  }

 private:
  std::vector<Order> orders() const {
    if (order_ == Order::own) return {Order::question_after, Order::answer_first};
    return {order_};
  }

  Order order_;
  std::shared_ptr<const Haystack> haystack_;
  int needles_;
  bool noise_;
};

}  // namespace

TaskEntry erase_niah_task() {
  return {
      .name = "erase-niah",
      .description = "Numbers in a long text, two of them erased after it was read",
      .parameters = {{"needles", 6, "numbers with keys in the text", 4, kMostNeedles},
                     {.name = "filler", .description = "what they stand in", .choices = {"prose", "noise"}}},
      .erases = true,
      .evicts = false,
      .open = [](const TaskOptions& options) -> std::unique_ptr<Task> {
        return std::make_unique<EraseNiah>(options);
      }};
}

}  // namespace kvedit::eval
