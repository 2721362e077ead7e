// Drop: the span's entries go, nothing else changes; positions keep the gap.
#include "erase/method.h"

namespace kvedit {
namespace {

class Drop final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"drop", Exactness::approximate, "span", "removes the span and leaves a gap in the positions"};
  }
  void apply(Edit& edit, const Erasure& erasure) const override { edit.remove(erasure.spans); }
};

}  // namespace

const EraseMethod& drop_method() {
  static const Drop method;
  return method;
}

}  // namespace kvedit
