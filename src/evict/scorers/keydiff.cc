// KeyDiff (Park et al., "KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in
// Resource-Constrained Environments", arXiv 2504.15364, section 3): keys that differ from the others.
//
//   score(j) = -cos(k_j, mean_i k_i / ||k_i||)
//
// The mean is over the entries within reach, keys as they are cached, after RoPE. The paper evicts in
// blocks while it reads; at once, the most recent entries need the policy's `recent`.
#include <algorithm>
#include <cmath>

#include "evict/parts.h"
#include "evict/scorers/page_rows.h"

namespace kvedit {
namespace {

// torch's normalize() and cosine_similarity() guard against zero the same way.
float inverse_norm(float squares) { return 1.0F / std::max(std::sqrt(squares), 1e-8F); }

class KeyDiff : public Scorer {
 public:
  LayerScores score(const LayerView& view) const override {
    LayerScores scores(view.cache.kv_heads());
    for (int head = 0; head < view.cache.kv_heads(); head++) {
      scores[head] = score_lane(view.cache.lane(view.layer, head), view.cache.pool()->shape(),
                                view.first_reachable(head));
    }
    return scores;
  }

 private:
  static std::vector<float> score_lane(const Lane& lane, const PageShape& shape, int begin) {
    PageRows rows(shape);
    float column[kPageEntries];
    std::vector<float> inverse;                 // [entries] 1 / norm
    std::vector<double> anchor(shape.key_dim);  // of the sum: a cosine does not see the factor
    for (const PageRef& page : lane.pages()) {
      const float* keys = rows.keys(*page);
      column_squares(keys, shape.key_dim, column);
      const int first = static_cast<int>(inverse.size());
      for (int c = 0; c < page->count; c++) inverse.push_back(inverse_norm(column[c]));
      for (int i = 0; i < shape.key_dim; i++) {
        for (int c = std::max(0, begin - first); c < page->count; c++) {
          anchor[i] += keys[i * kPageEntries + c] * inverse[first + c];
        }
      }
    }
    double squares = 0;
    for (double x : anchor) squares += x * x;
    const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
    std::vector<float> scores;
    for (const PageRef& page : lane.pages()) {
      const float* keys = rows.keys(*page);
      std::fill_n(column, kPageEntries, 0.0F);
      for (int i = 0; i < shape.key_dim; i++) {
        const auto direction = static_cast<float>(anchor[i] * scale);
        for (int c = 0; c < kPageEntries; c++) column[c] += direction * keys[i * kPageEntries + c];
      }
      for (int c = 0; c < page->count; c++) scores.push_back(-column[c] * inverse[scores.size()]);
    }
    return scores;
  }
};

}  // namespace

ScorerPart keydiff_scorer() {
  return {.name = "keydiff",
          .paper = "arXiv 2504.15364",
          .description = "Keys least like the mean direction of their lane's keys.",
          .make = [](const Parameters&) -> std::unique_ptr<Scorer> { return std::make_unique<KeyDiff>(); }};
}

}  // namespace kvedit
