// KVEraser (arXiv 2606.17034): the erased span's tokens run again at their own positions with the
// eraser adapter active in every projection,
//
//   (K', V')_span = f_(theta + eraser)(span | K, V of the prefix),
//
// and these steering states replace the span's entries; nothing else changes, so the cost depends on the
// span, not on what follows. Several spans go in one pass: each sees the steered ones before it.
#include <algorithm>

#include "erase/methods.h"

namespace kvedit {
namespace {

class Steer final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"steer", Exactness::learned, "span",
            "KVEraser: the span's entries are replaced by what an eraser adapter makes of them", true};
  }
  bool changes_positions() const override { return false; }

  void apply(EraseWork& work) const override {
    Transcript& t = work.transcript;
    std::span<const Span> spans = work.spans;
    if (spans.back().end == t.size()) {  // nothing follows: what is left never saw it
      remove_spans(work, spans.last(1));
      spans = spans.first(spans.size() - 1);
    }
    forward_again(work, spans, work.adapter);
    for (size_t i = spans.size(); i-- > 0;) {
      const auto first = t.positions.begin() + spans[i].begin;
      t.steered.insert(t.steered.end(), first, first + spans[i].size());
      t.cut(spans[i]);
    }
    std::sort(t.steered.begin(), t.steered.end());
    leave_last_pending(work);
  }
};

}  // namespace

const EraseMethod& steer_method() {
  static const Steer method;
  return method;
}

}  // namespace kvedit
