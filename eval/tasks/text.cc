// Continuation of plain prose: how far the edited cache's next-token distributions are from the exact
// cache's, and its perplexity, on the tokens that really follow. Nothing of them is known to the policy. An
// erase method erases a stretch somewhere in the context.
#include "tools/text.h"

#include "eval/task.h"

namespace kvedit::eval {
namespace {

constexpr int kContinuation = 64;
constexpr size_t kBytesAToken = 8;  // prose has about 4.5: a window of this many is always long enough
constexpr uint64_t kDocumentOrder = 0x6f72646572;  // the seed's second half for the order of documents

class Text final : public Task {
 public:
  explicit Text(const TaskOptions& options)
      : haystack_(options.haystack), span_(options.parameters.integer("span")) {}

  TaskInfo info() const override {
    return {
        .name = "text",
        .description = "Continuation of plain prose",
        .protocol = cat("context alone, then ", kContinuation,
                        " tokens that follow it are forced; erased: ", span_, " tokens at a random depth"),
        .metrics = {{"KL to the exact cache", Mean::arithmetic}, {"perplexity", Mean::geometric}}};
  }

  Example make(const Model& model, const ExampleSpec& spec) const override {
    const auto needed = static_cast<size_t>(spec.length) + kContinuation;
    if (spec.length < span_ + 2) {
      fail(ErrorCode::out_of_range, "eval", "length ", spec.length, " leaves no text beside the ", span_,
           " tokens to erase");
    }
    const std::vector<std::string>& documents = haystack_->documents();
    // Every document comes once before one comes again, those too short for the length left out.
    const std::vector<size_t> order =
        Random{spec.seed, kDocumentOrder}.sample(documents.size(), documents.size());
    Random random = spec.random();
    for (size_t i = 0; i < order.size(); i++) {
      const std::string& document = documents[order[(i + spec.index) % order.size()]];
      const size_t bytes = needed * kBytesAToken;
      const size_t spare = document.size() - std::min(document.size(), bytes);
      const std::string_view window = words(document, spare > 0 ? random.below(spare + 1) : 0, bytes);
      std::vector<Token> tokens = tokens_from_start(model, window);
      if (tokens.size() < needed) continue;
      const auto middle = tokens.begin() + spec.length;
      const int erased = 1 + static_cast<int>(random.below(spec.length - span_ - 1));
      Question question;
      question.continuation = {middle, middle + kContinuation};
      return {{tokens.begin(), middle}, {{erased, erased + span_}}, {question}};
    }
    fail(ErrorCode::out_of_range, "eval", "no text of the haystack has ", needed, " tokens, length and ",
         kContinuation, " that follow");
  }

  std::vector<double> score(const Question& /*question*/, const Answer& answer) const override {
    return {answer.kl, answer.perplexity};
  }

 private:
  std::shared_ptr<const Haystack> haystack_;
  int span_;
};

}  // namespace

TaskEntry text_task() {
  return {.name = "text",
          .description = "Continuation of plain prose: KL to the exact cache, perplexity",
          .parameters = {{"span", 64, "tokens that an erase method erases", 1, 4096}},
          .erases = true,
          .open = [](const TaskOptions& options) -> std::unique_ptr<Task> {
            return std::make_unique<Text>(options);
          }};
}

}  // namespace kvedit::eval
