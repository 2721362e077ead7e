// Repair where the span was felt most: delete and shift, then forward again, in place and in one pass,
//   - the first W tokens after each span;
//   - where the text repeats the span's wording, 2 W tokens at most: attention continues what it has seen
//     before, so that such places, and what stands behind them, read the span more than others;
//   - the last W tokens: a question that was read while the span could be seen is read anew.
#include <algorithm>

#include "erase/methods.h"
#include "erase/repeats.h"

namespace kvedit {
namespace {

class Mend final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"mend", Exactness::approximate, "windows",
            "shift, then forwards again what follows the span, repeats its wording, or ends the text"};
  }
  bool has_windows() const override { return true; }

  void apply(EraseWork& work) const override {
    std::vector<std::vector<Token>> erased;
    for (const Span span : work.spans) {
      const auto first = work.transcript.tokens.begin() + span.begin;
      erased.emplace_back(first, first + span.size());
    }
    const std::vector<int> seams = remove_and_shift(work);
    const int window = std::min(work.options.repair_window, work.transcript.size());
    std::vector<Span> windows = repair_windows(work, seams, window);
    const auto repeats = repeats_of(erased, work.transcript.tokens, seams.front(), 2 * window);
    windows.insert(windows.end(), repeats.begin(), repeats.end());
    forward_windows(work, windows);
  }
};

}  // namespace

const EraseMethod& mend_method() {
  static const Mend method;
  return method;
}

}  // namespace kvedit
