// Full recompute: forget everything from the first span on and forward what is left of it again.
#include <algorithm>

#include "erase/methods.h"

namespace kvedit {
namespace {

class Recompute final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"recompute", Exactness::exact, "suffix", "forwards everything after the first span again"};
  }
  bool rebuilds() const override { return true; }

  void apply(EraseWork& work) const override {
    // Entries behind an earlier approximate edit, or of an evicted cache, are no exact prefix.
    const int exact = work.evicted ? 0 : std::min(work.spans.front().begin, work.transcript.exact);
    for (size_t i = work.spans.size(); i-- > 0;) work.transcript.cut(work.spans[i]);
    rebuild(work, exact);
  }
};

}  // namespace

const EraseMethod& recompute_method() {
  static const Recompute method;
  return method;
}

}  // namespace kvedit
