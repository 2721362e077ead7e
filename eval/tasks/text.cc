// Continuation of plain prose: how far the compressed cache's next-token distributions are from the full
// cache's, and its perplexity, on the tokens that really follow. Nothing of them is known to the policy.
#include "base/check.h"
#include "eval/task.h"

namespace kvedit::eval {
namespace {

constexpr int kContinuation = 64;
constexpr size_t kBytesAToken = 8;         // prose has about 4.5: a window of this many is always long enough
constexpr uint64_t kOrder = 0x6f72646572;  // the seed's second half for the order of documents

class Text final : public Task {
 public:
  TaskInfo info() const override {
    return {"text",
            "Continuation of plain prose",
            cat("context alone, then ", kContinuation, " tokens that follow it are forced"),
            {{"KL to the full cache", Mean::arithmetic}, {"perplexity", Mean::geometric}}};
  }

  Example make(const Model& model, const Haystack& haystack, const Wish& wish) const override {
    const auto needed = static_cast<size_t>(wish.length) + kContinuation;
    const std::vector<std::string>& documents = haystack.documents();
    // Every document comes once before one comes again, those too short for the length left out.
    const std::vector<size_t> order = Draws{wish.seed, kOrder}.some(documents.size(), documents.size());
    Draws draws = wish.draws();
    for (size_t i = 0; i < order.size(); i++) {
      const std::string& document = documents[order[(i + wish.index) % order.size()]];
      const size_t bytes = needed * kBytesAToken;
      const size_t spare = document.size() - std::min(document.size(), bytes);
      const std::string_view window = words(document, spare > 0 ? draws.below(spare + 1) : 0, bytes);
      std::vector<Token> tokens = tokens_from_start(model, window);
      if (tokens.size() < needed) continue;
      const auto middle = tokens.begin() + wish.length;
      return {{tokens.begin(), middle}, {middle, middle + kContinuation}, "", 0};
    }
    fail(ErrorCode::out_of_range, "eval", "no text of the haystack has ", needed, " tokens, length and ",
         kContinuation, " that follow");
  }

  std::vector<double> score(const Example& /*example*/, const Answer& answer) const override {
    return {answer.kl, answer.perplexity};
  }
};

}  // namespace

const Task& text_task() {
  static const Text task;
  return task;
}

}  // namespace kvedit::eval
