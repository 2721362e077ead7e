// H2O (Zhang et al., "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language
// Models", arXiv 2306.14048, section 4): the attention an entry has gathered over all queries,
//
//   score(g, j) = sum over query heads h of group g of  sum_t A_h[t, j]
//
// The paper spends half of the budget on recent entries; here that is the policy's `recent`. On a cache
// already evicted the sum is over the queries of the tail that every lane still holds whole: what
// earlier queries attended to is gone, and so are their true weights. While decoding under a cap that
// tail is what came since the last eviction, and what that one kept as recent.
#include "evict/parts.h"
#include "tools/text.h"

namespace kvedit {
namespace {

class H2o : public Scorer {
 public:
  CaptureRequest needs() const override { return {.attention_mass = true}; }

  LayerScores score(const LayerView& view) const override {
    const auto& mass = view.captures.mass;
    const int heads = view.cache.kv_heads();
    if (mass.size() != static_cast<size_t>(view.cache.layers()) * heads) {
      fail(ErrorCode::invalid_argument, "evict", "attention mass captured for ", mass.size(), " of ",
           view.cache.layers() * heads, " lanes");
    }
    const auto first = mass.begin() + static_cast<ptrdiff_t>(view.layer) * heads;
    return {first, first + heads};
  }
};

}  // namespace

ScorerPart h2o_scorer() {
  return {.name = "h2o",
          .paper = "arXiv 2306.14048",
          .description = "Attention summed over all queries; costs a second pass over the context.",
          .make = [](const Parameters&) -> std::unique_ptr<Scorer> { return std::make_unique<H2o>(); }};
}

}  // namespace kvedit
