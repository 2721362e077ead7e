// SnapKV (Li et al., "SnapKV: LLM Knows What You are Looking for Before Generation", arXiv 2404.14469,
// section 4): the queries of a window at the context's end vote for what came before it.
//
//   score(g, j) = mean over query heads h of group g of  pool_kernel( 1/w sum_t A_h[t, j] )
//
// A_h: softmax attention of the last w queries over all keys, causal within the window. Only entries
// before the window compete; they are pooled among themselves, as in kvpress's SnapKVPress. Those of
// the window get the layer's largest score, and the policy's `recent` keeps them anyway.
#include <algorithm>

#include "evict/parts.h"
#include "evict/pooling.h"
#include "evict/window_attention.h"

namespace kvedit {
namespace {

class SnapKv : public Scorer {
 public:
  SnapKv(int window, int kernel, Pooling pooling) : window_(window), kernel_(kernel), pooling_(pooling) {}

  Needs needs() const override { return {.window_queries = window_}; }

  LayerScores score(const LayerView& view) const override {
    LayerScores scores(view.cache.kv_heads());
    std::vector<int> voted(scores.size());  // [kv_head] entries before the window
    float largest = 0;
    for (size_t head = 0; head < scores.size(); head++) {
      const int h = static_cast<int>(head);
      const WindowAttention attention(view, h, window_);
      const auto positions = view.cache.lane(view.layer, h).positions();
      voted[head] =
          static_cast<int>(std::lower_bound(positions.begin(), positions.end(), attention.first_position()) -
                           positions.begin());
      scores[head] =
          votes(attention, static_cast<int>(positions.size()), view.first_reachable(h), voted[head]);
      for (float s : scores[head]) largest = std::max(largest, s);
    }
    for (size_t head = 0; head < scores.size(); head++) {
      std::fill(scores[head].begin() + voted[head], scores[head].end(), largest);
    }
    return scores;
  }

 private:
  // Scores of a lane of n entries, zero outside [begin, end).
  std::vector<float> votes(const WindowAttention& attention, int n, int begin, int end) const {
    const int group = attention.group();
    std::vector<float> scores(n);
    if (begin >= end) return scores;
    std::vector<float> means(static_cast<size_t>(group) * n);  // [group][n]
    const float share = 1.0F / static_cast<float>(attention.tokens());
    attention.for_pages([&](int first, int count, std::span<const float> weights) {
      for (int row = 0; row < attention.tokens() * group; row++) {
        float* mean = &means[static_cast<size_t>(row % group) * n + first];
        const float* weight = &weights[static_cast<size_t>(row) * kPageEntries];
        for (int i = 0; i < count; i++) mean[i] += share * weight[i];
      }
    });
    for (int h = 0; h < group; h++) {
      const auto competing = std::span(means).subspan(static_cast<size_t>(h) * n + begin, end - begin);
      const auto pooled = pool(competing, kernel_, pooling_);
      for (int j = begin; j < end; j++) scores[j] += pooled[j - begin] / static_cast<float>(group);
    }
    return scores;
  }

  int window_;
  int kernel_;
  Pooling pooling_;
};

std::unique_ptr<Scorer> make_snapkv(const Parameters& parameters) {
  check_kernel(parameters.integer("kernel"));
  return std::make_unique<SnapKv>(parameters.integer("window"), parameters.integer("kernel"),
                                  parameters.integer("pool") == 0 ? Pooling::average : Pooling::maximum);
}

}  // namespace

ScorerPart snapkv_scorer() {
  std::vector<PolicyParameter> parameters = {{.name = "window",
                                              .value = 32,
                                              .description = "last queries that vote; their entries are kept",
                                              .minimum = 1,
                                              .maximum = 8192}};
  for (auto& parameter : pooling_parameters(7, Pooling::average)) parameters.push_back(std::move(parameter));
  return {.name = "snapkv",
          .paper = "arXiv 2404.14469",
          .description = "Attention of the last queries, pooled along the lane, mean over the group.",
          .parameters = std::move(parameters),
          .make = make_snapkv};
}

}  // namespace kvedit
