// Local suffix repair: delete and shift, then forward the first W tokens after each span in place.
// Those are the tokens whose keys and values the erased span changed most.
#include <algorithm>

#include "erase/methods.h"

namespace kvedit {
namespace {

class Repair final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {"repair", Exactness::approximate, "window",
            "shift, then forwards the first W tokens after the span again"};
  }
  bool changes_positions() const override { return true; }

  void apply(EraseWork& work) const override {
    const std::vector<int> seams = remove_and_shift(work);
    const int cached = work.transcript.size() - 1;
    std::vector<Span> windows;
    int done = 0;  // windows of near spans overlap
    for (const int seam : seams) {
      const Span window{std::max(seam, done), std::min(seam + work.options.repair_window, cached)};
      if (window.size() <= 0) continue;
      windows.push_back(window);
      done = window.end;
    }
    forward_again(work, windows);
  }
};

}  // namespace

const EraseMethod& repair_method() {
  static const Repair method;
  return method;
}

}  // namespace kvedit
