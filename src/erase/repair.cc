// Local suffix repair: delete and shift, then forward the first W tokens after each span in place.
// Those are the tokens whose keys and values the erased span changed most.
#include "erase/method.h"

namespace kvedit {
namespace {

class Repair final : public EraseMethod {
 public:
  EraseMethodInfo info() const override {
    return {.name = "repair",
            .exactness = Exactness::approximate,
            .cost = "window",
            .description = "shift, then forwards the first W tokens after the span again",
            .parameters = {token_count("window", 64, "tokens after each span that are forwarded again", 1),
                           token_count("tail", 0, "tokens at the text's end that are forwarded again")}};
  }

  void apply(Edit& edit, const Erasure& erasure) const override {
    const std::vector<int> seams = edit.remove_and_shift(erasure.spans);
    const Parameters& p = erasure.parameters;
    forward_windows(edit, repair_windows(edit.transcript(), seams, p.integer("window"), p.integer("tail")));
  }
};

}  // namespace

const EraseMethod& repair_method() {
  static const Repair method;
  return method;
}

}  // namespace kvedit
