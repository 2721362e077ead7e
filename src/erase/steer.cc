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
#include "erase/method.h"

namespace kvedit {
namespace {

class Steer final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"steer", Exactness::learned, "span",
            "KVEraser: the span's entries are replaced by what an eraser adapter makes of them", true};
  }

  void apply(Edit& edit, const Erasure& erasure) const override {
    std::span<const Span> spans = erasure.spans;
    if (spans.back().end == edit.transcript().size()) {  // nothing follows: what is left never saw it
      edit.remove(spans.last(1));
      spans = spans.first(spans.size() - 1);
    }
    edit.forward_again(spans, erasure.adapter);
    const int states = erasure.adapter->info().steering_states;
    for (size_t i = spans.size(); i-- > 0;) {  // from the last, so that earlier indices stay valid
      edit.leave_steering(spans[i], states_kept(spans[i], states));
    }
  }
};

}  // namespace

const EraseMethod& steer_method() {
  static const Steer method;
  return method;
}

}  // namespace kvedit
