// A needle in a haystack: numbers of some digits stand in a long text, one is asked for. The question and
// the beginning of the answer are read before the cache is compressed, so a policy can know what is asked.
//   niah-noise  one needle at a random depth among five sentences repeated (RULER's noise haystack,
//               arXiv 2404.06654)
//   niah-keys   five needles with keys of their own in prose, one in each fifth of the text
#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "eval/task.h"

namespace kvedit::eval {
namespace {

constexpr std::string_view kNoise =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. ";
constexpr std::string_view kOpening = "Remember the magic numbers in this text.\n\n";
constexpr std::array<std::string_view, 24> kKeys = {
    "apple",   "bridge", "candle", "desert", "engine", "forest", "garden", "hammer",
    "island",  "jacket", "kettle", "ladder", "mirror", "needle", "orange", "pencil",
    "quarter", "river",  "saddle", "table",  "violin", "window", "yard",   "zebra"};
constexpr size_t kLeastValue = 1000, kMostValue = 9999;
constexpr int kAnswerTokens = 12;
constexpr size_t kBytesAToken = 12;  // more than any prose has
constexpr double kTolerance = 0.02;

struct Needle {
  std::string key, value;
  double depth;  // share of the haystack before it

  std::string sentence() const { return cat("The magic number of the ", key, " is ", value, "."); }
};

std::vector<Needle> draw_needles(size_t count, Draws& draws) {
  const std::vector<size_t> keys = draws.some(count, kKeys.size());
  const std::vector<size_t> values = draws.some(count, kMostValue - kLeastValue + 1);
  std::vector<Needle> needles;
  for (size_t i = 0; i < count; i++) {
    const double depth = (static_cast<double>(i) + draws.unit()) / static_cast<double>(count);
    needles.push_back({std::string(kKeys.at(keys[i])), std::to_string(kLeastValue + values[i]), depth});
  }
  return needles;
}

// Where a sentence ends: the first place at or after `from`, else the last one, else the text's end.
size_t sentence_end(std::string_view text, size_t from) {
  size_t last = text.size();
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '.' && text[i] != '!' && text[i] != '?') continue;
    if (i + 1 < text.size() && text[i + 1] != ' ' && text[i + 1] != '\n') continue;
    last = i + 1;
    if (last >= from) break;
  }
  return last;
}

// The haystack with the needles between its sentences; their depths ascend.
std::string with_needles(std::string_view haystack, const std::vector<Needle>& needles) {
  std::string text(kOpening);
  size_t done = 0;
  for (const Needle& needle : needles) {
    const auto depth = static_cast<size_t>(needle.depth * static_cast<double>(haystack.size()));
    const size_t end = std::max(done, sentence_end(haystack, depth));
    text.append(haystack.substr(done, end - done)).append(" ").append(needle.sentence());
    done = end;
  }
  return text.append(haystack.substr(done));
}

class Niah final : public Task {
 public:
  Niah(std::string name, std::string description, size_t needles, bool noise)
      : info_{std::move(name),
              std::move(description),
              "context, question and the beginning of the answer, then the answer is generated",
              {{"found", Mean::share}}},
        needles_(needles),
        noise_(noise) {}

  TaskInfo info() const override { return info_; }

  Example make(const Model& model, const Haystack& haystack, const Wish& wish) const override {
    Draws draws = wish.draws();
    const std::vector<Needle> needles = draw_needles(needles_, draws);
    const Needle& asked = needles[draws.below(needles.size())];
    const size_t bytes = wish.length * kBytesAToken;
    std::string filler;
    while (noise_ && filler.size() < bytes) filler += kNoise;
    if (!noise_) filler = haystack.stretch(bytes, draws);
    const auto build = [&](size_t size) {
      return tokens_from_start(model, cat(with_needles(words(filler, 0, size), needles),
                                          "\n\nQuestion: What is the magic number of the ", asked.key,
                                          "?\nAnswer: The magic number of the ", asked.key, " is"));
    };
    return {fit(build, filler.size(), wish.length), {}, asked.value, kAnswerTokens};
  }

  std::vector<double> score(const Example& example, const Answer& answer) const override {
    return {answer.text.find(example.expected) == std::string::npos ? 0.0 : 1.0};
  }

 private:
  // The longest text of at most `length` tokens, by bisection over the filler's bytes.
  template <typename Build>
  static std::vector<Token> fit(const Build& build, size_t most, int length) {
    std::vector<Token> best = build(0);
    for (size_t low = 0; low < most;) {
      const size_t middle = low + (most - low + 1) / 2;
      std::vector<Token> tokens = build(middle);
      if (tokens.size() <= static_cast<size_t>(length)) {
        best = std::move(tokens);
        low = middle;
      } else {
        most = middle - 1;
      }
    }
    if (std::abs(static_cast<double>(best.size()) - length) > kTolerance * length) {
      fail(ErrorCode::out_of_range, "eval", "length ", length, " cannot be met within 2 %: the nearest is ",
           best.size(), " tokens");
    }
    return best;
  }

  TaskInfo info_;
  size_t needles_;
  bool noise_;
};

}  // namespace

const Task& niah_noise_task() {
  static const Niah task("niah-noise", "One number in repeated noise", 1, true);
  return task;
}

const Task& niah_keys_task() {
  static const Niah task("niah-keys", "Five numbers with keys in prose, one asked for", 5, false);
  return task;
}

}  // namespace kvedit::eval
