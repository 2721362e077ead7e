// DropKV: the squared change of the attention outputs of the last w queries when one entry is dropped,
//
//   s_j = sum_t (p_tj / (1 - p_tj + eps))^2 ||o_t - v_j||^2
//
// p: a query head's weights, o its output; max-pooled along the lane, mean over the group. Without eps it
// is exact for one entry; eps keeps an entry that has all the weight finite.
#include "evict/parts.h"
#include "evict/scorers/page_rows.h"
#include "evict/scorers/window_scores.h"

namespace kvedit {
namespace {

constexpr float kEpsilon = 1e-6F;

class DropKv : public Scorer {
 public:
  explicit DropKv(const WindowOptions& options) : options_(options) {}

  CaptureRequest needs() const override { return {.window_queries = options_.window}; }

  LayerScores score(const LayerView& view) const override {
    const PageShape& shape = view.cache.pool()->shape();
    return window_scores(view, options_.window, [&](const WindowAttention& attention, const Competing& lane) {
      const int group = attention.group();
      std::vector<float> rows(static_cast<size_t>(group) * lane.size);
      PageRows page_rows(shape);
      float distances[kPageEntries];
      auto page = attention.pages().begin();
      attention.for_pages([&](int first, int count, std::span<const float> weights) {
        const float* values = page_rows.values(**page++);
        for (int row = 0; row < attention.tokens() * group; row++) {
          column_distances(values, shape.value_dim,
                           &attention.outputs()[static_cast<size_t>(row) * shape.value_dim], distances);
          const float* p = &weights[static_cast<size_t>(row) * kPageEntries];
          float* to = &rows[static_cast<size_t>(row % group) * lane.size + first];
          for (int c = 0; c < count; c++) {
            const float moved = p[c] / (1 - p[c] + kEpsilon);
            to[c] += moved * moved * distances[c];
          }
        }
      });
      return pool_group(rows, lane, options_.kernel, options_.pooling, Group::mean);
    });
  }

 private:
  WindowOptions options_;
};

}  // namespace

ScorerPart dropkv_scorer() {
  return {.name = "dropkv",
          .paper = "",
          .description = "Squared change of the last queries' outputs when one entry is dropped.",
          .parameters = window_parameters(8, 11, Pooling::maximum),
          .make = [](const Parameters& parameters) -> std::unique_ptr<Scorer> {
            return std::make_unique<DropKv>(WindowOptions(parameters));
          }};
}

}  // namespace kvedit
