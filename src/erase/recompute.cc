// Full recompute: forget everything from the first span on and forward what is left of it again.
#include "erase/method.h"

namespace kvedit {
namespace {

class Recompute final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"recompute", Exactness::exact, "suffix", "forwards everything after the first span again"};
  }

  void apply(Edit& edit, const Erasure& erasure) const override { edit.rebuild_without(erasure.spans); }
};

}  // namespace

const EraseMethod& recompute_method() {
  static const Recompute method;
  return method;
}

}  // namespace kvedit
