// K-norm (Devoto et al., "A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression", arXiv
// 2406.11430, section 4): keys that attract attention have small norms. score(j) = -||k_j||_2.
#include <cmath>

#include "evict/parts.h"
#include "evict/scorers/page_rows.h"

namespace kvedit {
namespace {

class KNorm : public Scorer {
 public:
  LayerScores score(const LayerView& view) const override {
    LayerScores scores(view.cache.kv_heads());
    PageRows rows(view.cache.pool()->shape());
    float squares[kPageEntries];
    for (int head = 0; head < view.cache.kv_heads(); head++) {
      for (const PageRef& page : view.cache.lane(view.layer, head).pages()) {
        column_squares(rows.keys(*page), view.network.hparams().key_dim, squares);
        for (int c = 0; c < page->count; c++) scores[head].push_back(-std::sqrt(squares[c]));
      }
    }
    return scores;
  }
};

}  // namespace

ScorerPart k_norm_scorer() {
  return {.name = "k-norm",
          .paper = "arXiv 2406.11430",
          .description = "Keys with small norms, which attract attention.",
          .make = [](const Parameters&) -> std::unique_ptr<Scorer> { return std::make_unique<KNorm>(); }};
}

}  // namespace kvedit
