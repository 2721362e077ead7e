// KVEraser (arXiv 2606.17034): the erased span's tokens run again at their own positions with the
// eraser adapter active in every projection,
//
//   (K', V')_span = f_(theta + eraser)(span | K, V of the prefix),
//
// and these steering states replace the span's entries; nothing else is forwarded, so the cost depends on the
// span, not on what follows. Several spans go in one pass: each sees the steered ones before it.
//
// In the paper all states stay, at their positions. An adapter may say that it was trained for fewer: then
// the span's last so many stay, what is in front of them goes, and what follows moves down into that gap.
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

  void apply(EraseWork& work) const override {
    Transcript& t = work.transcript;
    std::span<const Span> spans = work.spans;
    if (spans.back().end == t.size()) {  // nothing follows: what is left never saw it
      remove_spans(work, spans.last(1));
      spans = spans.first(spans.size() - 1);
    }
    forward_again(work, spans, work.adapter);
    const int states = work.adapter->info().steering_states;
    for (size_t i = spans.size(); i-- > 0;) {  // from the last, so that earlier indices stay valid
      const Span span = spans[i];
      const int kept = states_kept(span, states);
      const auto end = t.positions.begin() + span.end;
      t.steered.insert(t.steered.end(), end - kept, end);
      const Span gap{t.positions[span.begin], *(end - kept)};
      t.cut(span);
      if (gap.size() > 0) close_gap(work, gap, span.begin);
    }
    std::sort(t.steered.begin(), t.steered.end());
    leave_last_pending(work.cache, work.transcript);
  }
};

}  // namespace

const EraseMethod& steer_method() {
  static const Steer method;
  return method;
}

}  // namespace kvedit
