// TOVA (Oren et al., "Transformers are Multi-State RNNs", arXiv 2401.06104, section 3.2): the attention
// of the last query, mean over all query heads of the layer, the same for each KV head:
//
//   score(j) = 1/H sum_h A_h[last, j]
//
// An entry that a lane does not hold any more gets no attention from that lane's heads. The paper keeps no
// sinks and no window, and neither does the policy, but for the entry of the query itself.
#include "evict/parts.h"
#include "evict/scorers/window_scores.h"

namespace kvedit {
namespace {

class Tova : public Scorer {
 public:
  CaptureRequest needs() const override { return {.window_queries = 1}; }

  LayerScores score(const LayerView& view) const override {
    const int heads = view.cache.kv_heads();
    std::vector<float> sums(view.cache.last_position() + 1);  // [position]
    std::vector<std::vector<Position>> positions;
    for (int head = 0; head < heads; head++) {
      positions.push_back(view.cache.lane(view.layer, head).positions());
      const size_t n = positions[head].size();
      const auto weights = window_means(WindowAttention(view, head, 1), static_cast<int>(n));
      for (size_t i = 0; i < weights.size(); i++) sums[positions[head][i % n]] += weights[i];
    }
    LayerScores scores(heads);
    for (int head = 0; head < heads; head++) {
      for (Position p : positions[head]) {
        scores[head].push_back(sums[p] / static_cast<float>(view.network.hparams().heads));
      }
    }
    return scores;
  }
};

}  // namespace

ScorerPart tova_scorer() {
  return {.name = "tova",
          .paper = "arXiv 2401.06104",
          .description = "Attention of the last query, mean over the heads of the layer.",
          .make = [](const Parameters&) -> std::unique_ptr<Scorer> { return std::make_unique<Tova>(); },
          .sinks = 0,
          .recent = 1};
}

}  // namespace kvedit
