// CAOTE (Goel et al., "CAOTE: KV Cache Selection for LLMs via Attention Output Error-Based Token Eviction",
// arXiv 2504.14051, theorem 3.2): how far a head's output moves when entry j goes and the others share its
// weight,
//
//   c_j = h_j / (1 - h_j) ||o - v_j||_2,  o = sum_j h_j v_j
//
// h: the weights of another method, normalised to sum 1. Here they are the mean attention of the last w
// queries, SnapKV's votes, which sum to 1 as they are; with window=1 they are TOVA's, a head at a time, and
// c is exact. Pooled as SnapKV pools, mean over the group; the paper leaves both open.
#include <algorithm>
#include <cmath>

#include "evict/parts.h"
#include "evict/scorers/page_rows.h"
#include "evict/scorers/window_scores.h"

namespace kvedit {
namespace {

class Caote : public Scorer {
 public:
  explicit Caote(const WindowOptions& options) : options_(options) {}

  CaptureRequest needs() const override { return {.window_queries = options_.window}; }

  LayerScores score(const LayerView& view) const override {
    const PageShape& shape = view.cache.pool()->shape();
    return window_scores(view, options_.window, [&](const WindowAttention& attention, const Competing& lane) {
      const auto output = mean_output(attention, shape.value_dim);
      auto rows = window_means(attention, lane.size);  // h, then c
      PageRows page_rows(shape);
      float distances[kPageEntries];
      int first = attention.first_entry();
      for (const PageRef& page : attention.pages()) {
        const float* values = page_rows.values(*page);
        for (int g = 0; g < attention.group(); g++) {
          column_distances(values, shape.value_dim, &output[static_cast<size_t>(g) * shape.value_dim],
                           distances);
          float* row = &rows[static_cast<size_t>(g) * lane.size + first];
          for (int c = 0; c < page->count; c++) {
            row[c] = row[c] / std::max(1 - row[c], 1e-6F) * std::sqrt(distances[c]);
          }
        }
        first += page->count;
      }
      return pool_group(rows, lane, options_.kernel, options_.pooling, Group::mean);
    });
  }

 private:
  // [group][value_dim]: the mean of the outputs is the output of the mean weights.
  static std::vector<float> mean_output(const WindowAttention& attention, int value_dim) {
    std::vector<float> mean(static_cast<size_t>(attention.group()) * value_dim);
    const auto outputs = attention.outputs();
    for (size_t i = 0; i < outputs.size(); i++) {
      mean[i % mean.size()] += outputs[i] / static_cast<float>(attention.tokens());
    }
    return mean;
  }

  WindowOptions options_;
};

}  // namespace

ScorerPart caote_scorer() {
  return {.name = "caote",
          .paper = "arXiv 2504.14051",
          .description = "How far the attention output moves when one entry goes.",
          .parameters = window_parameters(32, 7, Pooling::average),
          .make = [](const Parameters& parameters) -> std::unique_ptr<Scorer> {
            return std::make_unique<Caote>(WindowOptions(parameters));
          }};
}

}  // namespace kvedit
