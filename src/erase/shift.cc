// Delete and shift: the span's entries go, what follows moves down and its keys are turned by RoPE.
// What later tokens read from the span while they were prefilled stays in their values.
#include "erase/method.h"

namespace kvedit {
namespace {

class Shift final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"shift", Exactness::approximate, "re-rotation", "removes the span and moves what follows down"};
  }
  void apply(Edit& edit, const Erasure& erasure) const override { edit.remove_and_shift(erasure.spans); }
};

}  // namespace

const EraseMethod& shift_method() {
  static const Shift method;
  return method;
}

}  // namespace kvedit
