// Local suffix repair: delete and shift, then forward the first W tokens after each span in place.
// Those are the tokens whose keys and values the erased span changed most. The last ones, too, if asked for.
#include "erase/method.h"

namespace kvedit {
namespace {

constexpr int kRepairWindow = 64;

class Repair final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"repair", Exactness::approximate, "window",
            "shift, then forwards the first W tokens after the span again"};
  }
  bool has_windows() const override { return true; }

  void apply(Edit& edit, const Erasure& erasure) const override {
    const std::vector<int> seams = edit.remove_and_shift(erasure.spans);
    const int window = erasure.window.value_or(kRepairWindow), tail = erasure.tail.value_or(0);
    forward_windows(edit, repair_windows(edit.transcript(), seams, window, tail));
  }
};

}  // namespace

const EraseMethod& repair_method() {
  static const Repair method;
  return method;
}

}  // namespace kvedit
