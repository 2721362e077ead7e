// OBCache (Gu et al., "OBCache: Optimal Brain KV Cache Pruning for Efficient Long-Context LLM Inference",
// arXiv 2510.07651, after Optimal Brain Damage): the squared change of the attention outputs of the last w
// queries, to the first order, when an entry's value, its key (its logit) or both are set to zero,
//
//   value: sum_t A_tj^2 ||v_j||^2
//   key:   sum_t (A_tj Z_tj)^2 ||v_j - o_t||^2
//   joint: value + key + 2 sum_t A_tj^2 Z_tj (||v_j||^2 - <v_j, o_t>)
//
// A: a query head's weights, Z its logits, o its output; max-pooled along the lane, sum over the group.
#include <cmath>

#include "evict/parts.h"
#include "evict/scorers/page_rows.h"
#include "evict/scorers/window_scores.h"

namespace kvedit {
namespace {

enum class Pruned { value, key, joint };

class ObCache : public Scorer {
 public:
  ObCache(const WindowOptions& options, Pruned pruned) : options_(options), pruned_(pruned) {}

  CaptureRequest needs() const override { return {.window_queries = options_.window}; }

  LayerScores score(const LayerView& view) const override {
    const PageShape& shape = view.cache.pool()->shape();
    return window_scores(view, options_.window, [&](const WindowAttention& attention, const Competing& lane) {
      const int group = attention.group();
      std::vector<float> rows(static_cast<size_t>(group) * lane.size);
      PageRows page_rows(shape);
      float squares[kPageEntries];
      auto page = attention.pages().begin();
      attention.for_pages([&](int first, int count, std::span<const float> weights) {
        const float* values = page_rows.values(**page++);
        column_squares(values, shape.value_dim, squares);
        for (int row = 0; row < attention.tokens() * group; row++) {
          add(attention, row, {&weights[static_cast<size_t>(row) * kPageEntries], static_cast<size_t>(count)},
              values, squares, &rows[static_cast<size_t>(row % group) * lane.size + first]);
        }
      });
      return pool_group(rows, lane, options_.kernel, options_.pooling, Group::sum);
    });
  }

 private:
  // One query's terms over one page: values [value_dim][64], squares [64] = ||v||^2.
  void add(const WindowAttention& attention, int row, std::span<const float> weights, const float* values,
           const float* squares, float* to) const {
    if (pruned_ == Pruned::value) {
      for (size_t c = 0; c < weights.size(); c++) to[c] += weights[c] * weights[c] * squares[c];
      return;
    }
    const size_t dim = attention.outputs().size() / (attention.tokens() * attention.group());
    const auto output = attention.outputs().subspan(row * dim, dim);
    float distances[kPageEntries];  // ||v - o||^2
    column_distances(values, static_cast<int>(dim), output.data(), distances);
    float output_squares = 0;
    for (float o : output) output_squares += o * o;
    const float log_sum = attention.log_sum(row);
    for (size_t c = 0; c < weights.size(); c++) {
      const float a = weights[c];
      const float z = a > 0 ? std::log(a) + log_sum : 0;
      const float key = z * z * distances[c];
      // 2 (||v||^2 - <v, o>) = ||v||^2 - ||o||^2 + ||v - o||^2
      const float cross = z * (squares[c] - output_squares + distances[c]);
      to[c] += a * a * (pruned_ == Pruned::key ? key : squares[c] + key + cross);
    }
  }

  WindowOptions options_;
  Pruned pruned_;
};

}  // namespace

ScorerPart obcache_scorer() {
  std::vector<Parameter> parameters = window_parameters(16, 7, Pooling::maximum);
  parameters.push_back({.name = "pruned",
                        .value = 2,
                        .description = "what of an entry is set to zero",
                        .maximum = 2,
                        .choices = {"value", "key", "joint"}});
  return {.name = "obcache",
          .paper = "arXiv 2510.07651",
          .description = "First-order change of the last queries' outputs when one entry is pruned.",
          .parameters = std::move(parameters),
          .make = [](const Parameters& given) -> std::unique_ptr<Scorer> {
            return std::make_unique<ObCache>(WindowOptions(given),
                                             static_cast<Pruned>(given.integer("pruned")));
          }};
}

}  // namespace kvedit
