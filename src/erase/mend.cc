// Repair where the span was felt most: delete and shift, then forward again, in place and in one pass,
//   - the first W tokens after each span, 128 if none are given;
//   - where the text repeats the span's wording, 2 W and twice the span's tokens at most (W = 64 if none is
//   given):
//     attention continues what it has seen before, so that such places, and what stands behind them, read the
//     span more than others;
//   - the last W tokens (64): a question that was read while the span could be seen is read anew.
#include <algorithm>

#include "base/check.h"
#include "erase/method.h"
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

  void apply(Edit& edit, const Erasure& erasure) const override {
    std::vector<std::vector<Token>> erased;
    int erased_tokens = 0;
    for (const Span span : erasure.spans) {
      erased.push_back(edit.transcript().text(span));
      erased_tokens += span.size();
    }
    const std::vector<int> seams = edit.remove_and_shift(erasure.spans);
    const Transcript& left = edit.transcript();
    const int given = erasure.window.value_or(kMendWindow);
    const int window = erasure.window.value_or(kSeamWindow), tail = erasure.tail.value_or(given);
    // A long text has long copies: half a copy read again can be worse than none.
    const int budget = 2 * std::min(given, left.size()) + 2 * erased_tokens;
    std::vector<Span> again = repair_windows(left, seams, window, tail);
    const Repeats repeats = repeats_of(erased, left.tokens, seams.front(), budget, again);
    again.insert(again.end(), repeats.spans.begin(), repeats.spans.end());
    forward_windows(edit, std::move(again));
    if (repeats.left > 0) {
      edit.set_note(cat(repeats.left, " tokens that repeat the erased wording are over the budget of ",
                        budget, " and were not read again"));
    }
  }
};

}  // namespace

const EraseMethod& mend_method() {
  static const Mend method;
  return method;
}

}  // namespace kvedit
