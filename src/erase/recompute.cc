// Full recompute: forget everything from the first span on and forward what is left of it again.
#include <algorithm>
#include <limits>

#include "erase/methods.h"

namespace kvedit {
namespace {

class Recompute final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"recompute", Exactness::exact, "suffix", "forwards everything after the first span again"};
  }
  bool changes_positions() const override { return true; }
  bool rebuilds() const override { return true; }

  void apply(EraseWork& work) const override {
    Transcript& t = work.transcript;
    // Entries behind an earlier approximate edit, or of an evicted cache, are no exact prefix.
    const int exact = work.evicted ? 0 : std::min(work.spans.front().begin, t.exact);
    for (size_t i = work.spans.size(); i-- > 0;) t.cut(work.spans[i]);
    const int start = std::min(exact, t.size() - 1);  // the last one is pending
    Position next = start > 0 ? t.positions[start - 1] + 1 : 0;
    work.cache.remove({next, std::numeric_limits<Position>::max()});
    for (int i = start; i < t.size(); i++) t.positions[i] = next++;
    const Span again{start, t.size() - 1};
    if (again.size() > 0) {
      work.cache.append(std::span(t.positions).subspan(again.begin, again.size()));
      forward_again(work, again);
    }
    t.exact = t.size();
  }
};

}  // namespace

const EraseMethod& recompute_method() {
  static const Recompute method;
  return method;
}

}  // namespace kvedit
