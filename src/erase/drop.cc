// Drop: the span's entries go, nothing else changes; positions keep the gap.
#include "erase/methods.h"

namespace kvedit {
namespace {

class Drop final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"drop", Exactness::approximate, "span", "removes the span and leaves a gap in the positions"};
  }
  void apply(EraseWork& work) const override { remove_spans(work, work.spans); }
};

}  // namespace

const EraseMethod& drop_method() {
  static const Drop method;
  return method;
}

}  // namespace kvedit
