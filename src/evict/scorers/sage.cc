// SAGE-KV (Wang et al., "LLMs Know What to Drop: Self-Attention Guided KV Cache Eviction for Efficient
// Long-Context Inference", arXiv 2503.08879, section 3): once after the prefill, each KV head keeps what
// the last token attends to most, between the sinks and the recent entries:
//
//   score(g, j) = mean or max over query heads h of group g of  A_h[last, j]
//
// The paper writes the score for one head; how a group of query heads shares its keys is not certain
// from it, hence the parameter.
#include "evict/parts.h"
#include "evict/scorers/window_scores.h"

namespace kvedit {
namespace {

class Sage : public Scorer {
 public:
  explicit Sage(Group combine) : combine_(combine) {}

  CaptureRequest needs() const override { return {.window_queries = 1}; }

  LayerScores score(const LayerView& view) const override {
    return window_scores(view, 1, [&](const WindowAttention& attention, const Competing& lane) {
      return pool_group(window_means(attention, lane.size), lane, 1, Pooling::average, combine_);
    });
  }

 private:
  Group combine_;
};

}  // namespace

ScorerPart sage_scorer() {
  return {.name = "sage",
          .paper = "arXiv 2503.08879",
          .description = "Attention of the last query, head by head.",
          .parameters = {{.name = "group",
                          .value = 0,
                          .description = "how query heads that share keys combine",
                          .maximum = 1,
                          .choices = {"mean", "max"}}},
          .make = [](const Parameters& parameters) -> std::unique_ptr<Scorer> {
            return std::make_unique<Sage>(parameters.integer("group") == 0 ? Group::mean : Group::maximum);
          }};
}

}  // namespace kvedit
