// SnapKV (Li et al., "SnapKV: LLM Knows What You are Looking for Before Generation", arXiv 2404.14469,
// section 4): the queries of a window at the context's end vote for what came before it.
//
//   score(g, j) = mean over query heads h of group g of  pool_kernel( 1/w sum_t A_h[t, j] )
//
// A_h: softmax attention of the last w queries over all keys, causal within the window. Only entries
// before the window compete; they are pooled among themselves, as in kvpress's SnapKVPress. Those of
// the window get the layer's largest score, and the policy's `recent` keeps them anyway.
#include "evict/parts.h"
#include "evict/scorers/window_scores.h"

namespace kvedit {
namespace {

class SnapKv : public Scorer {
 public:
  explicit SnapKv(const WindowOptions& options) : options_(options) {}

  CaptureRequest needs() const override { return {.window_queries = options_.window}; }

  LayerScores score(const LayerView& view) const override {
    return window_scores(view, options_.window, [&](const WindowAttention& attention, const Competing& lane) {
      return pool_group(window_means(attention, lane.size), lane, options_.kernel, options_.pooling,
                        Group::mean);
    });
  }

 private:
  WindowOptions options_;
};

}  // namespace

ScorerPart snapkv_scorer() {
  return {.name = "snapkv",
          .paper = "arXiv 2404.14469",
          .description = "Attention of the last queries, pooled along the lane, mean over the group.",
          .parameters = window_parameters(32, 7, Pooling::average),
          .make = [](const Parameters& parameters) -> std::unique_ptr<Scorer> {
            return std::make_unique<SnapKv>(WindowOptions(parameters));
          }};
}

}  // namespace kvedit
