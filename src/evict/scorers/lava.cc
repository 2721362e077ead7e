// LAVa (Shen et al., "LAVa: Layer-wise KV Cache Eviction with Dynamic Budget Allocation", arXiv 2509.09754):
// a bound of the loss of a layer's attention output, so that scores compare across its heads,
//
//   score(g, j) = max over query heads h of group g of  pool( 1/w sum_t A_h[t, j] )  *  max_i ||v_i||_1
//
// A: attention of the last w queries, i over the entries before the window. Budgets of heads and layers
// follow from the scores: see the allocator `entropy`. As the authors' code has it; the paper's text
// was not at hand.
#include <algorithm>
#include <cmath>

#include "evict/parts.h"
#include "evict/scorers/page_rows.h"
#include "evict/scorers/window_scores.h"

namespace kvedit {
namespace {

// The largest L1 norm of the values of the entries that compete.
float largest_value(const WindowAttention& attention, const Competing& lane, const PageShape& shape) {
  PageRows rows(shape);
  float largest = 0;
  int first = attention.first_entry();
  for (const PageRef& page : attention.pages()) {
    const float* values = rows.values(*page);
    float norms[kPageEntries] = {};
    for (int i = 0; i < shape.value_dim; i++) {
      for (int c = 0; c < kPageEntries; c++) norms[c] += std::abs(values[i * kPageEntries + c]);
    }
    for (int c = std::max(0, lane.begin - first); c < std::min(page->count, lane.end - first); c++) {
      largest = std::max(largest, norms[c]);
    }
    first += page->count;
  }
  return largest;
}

class Lava : public Scorer {
 public:
  explicit Lava(const WindowOptions& options) : options_(options) {}

  CaptureRequest needs() const override { return {.window_queries = options_.window}; }

  LayerScores score(const LayerView& view) const override {
    return window_scores(view, options_.window, [&](const WindowAttention& attention, const Competing& lane) {
      auto scores = pool_group(window_means(attention, lane.size), lane, options_.kernel, options_.pooling,
                               Group::maximum);
      const float largest = largest_value(attention, lane, view.cache.pool()->shape());
      for (float& s : scores) s *= largest;
      return scores;
    });
  }

 private:
  WindowOptions options_;
};

}  // namespace

ScorerPart lava_scorer() {
  return {.name = "lava",
          .paper = "arXiv 2509.09754",
          .description = "Window attention times the head's largest value: comparable across heads.",
          .parameters = window_parameters(32, 7, Pooling::maximum),
          .make = [](const Parameters& parameters) -> std::unique_ptr<Scorer> {
            return std::make_unique<Lava>(WindowOptions(parameters));
          }};
}

}  // namespace kvedit
