// Local suffix repair: delete and shift, then forward the first W tokens after each span in place.
// Those are the tokens whose keys and values the erased span changed most. The last ones, too, if asked for.
#include "erase/methods.h"

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

  void apply(EraseWork& work) const override {
    const std::vector<int> seams = remove_and_shift(work);
    forward_windows(work, repair_windows(work, seams, work.options.repair_window.value_or(kRepairWindow), 0));
  }
};

}  // namespace

const EraseMethod& repair_method() {
  static const Repair method;
  return method;
}

}  // namespace kvedit
