// Full recompute: forget everything from the first span on and forward what is left of it again.
#include "erase/methods.h"

namespace kvedit {
namespace {

class Recompute final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"recompute", Exactness::exact, "suffix", "forwards everything after the first span again"};
  }

  void apply(EraseWork& work) const override {
    for (size_t i = work.spans.size(); i-- > 0;) work.transcript.cut(work.spans[i]);
    rebuild(work, work.transcript.exact);
  }
};

}  // namespace

const EraseMethod& recompute_method() {
  static const Recompute method;
  return method;
}

}  // namespace kvedit
