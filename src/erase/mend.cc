// Repair where the span was felt most: delete and shift, then forward again, in place and in one pass,
//   - the first W tokens after each span, 128 if none are given;
//   - where the text repeats the span's wording, 2 W and twice the span's tokens at most (W = 64 if none is
//   given):
//     attention continues what it has seen before, so that such places, and what stands behind them, read the
//     span more than others;
//   - the last W tokens (64): a question that was read while the span could be seen is read anew.
#include <algorithm>

#include "base/check.h"
#include "erase/methods.h"
#include "erase/repeats.h"

namespace kvedit {
namespace {

constexpr int kSeamWindow = 128, kMendWindow = 64;

class Mend final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"mend", Exactness::approximate, "windows",
            "shift, then forwards again what follows the span, repeats its wording, or ends the text"};
  }
  bool has_windows() const override { return true; }

  void apply(EraseWork& work) const override {
    std::vector<std::vector<Token>> erased;
    int erased_tokens = 0;
    for (const Span span : work.spans) {
      const auto first = work.transcript.tokens.begin() + span.begin;
      erased.emplace_back(first, first + span.size());
      erased_tokens += span.size();
    }
    const std::vector<int> seams = remove_and_shift(work);
    const int given = work.options.repair_window.value_or(kMendWindow);
    std::vector<Span> windows =
        repair_windows(work, seams, work.options.repair_window.value_or(kSeamWindow), given);
    // A long text has long copies: half a copy read again can be worse than none.
    const int budget = 2 * std::min(given, work.transcript.size()) + 2 * erased_tokens;
    const Repeats repeats = repeats_of(erased, work.transcript.tokens, seams.front(), budget, windows);
    windows.insert(windows.end(), repeats.spans.begin(), repeats.spans.end());
    forward_windows(work, windows);
    if (repeats.left > 0) {
      work.note = cat(repeats.left, " tokens that repeat the erased wording are over the budget of ", budget,
                      " and were not read again");
    }
  }
};

}  // namespace

const EraseMethod& mend_method() {
  static const Mend method;
  return method;
}

}  // namespace kvedit
