// SqueezeAttention (Wang et al., "SqueezeAttention: 2D Management of KV-Cache in LLM Inference via
// Layer-wise Optimal Budget", arXiv 2404.04793, algorithm 1): a layer matters as much as its attention
// changes the hidden state. Layers are put into three groups by the cosine similarity of the state before
// and after it, k-means, mean over tokens (here those of the window). With b the mean budget of a layer,
//
//   group of the highest similarity, G_3:  b p
//   the others:                            (m b - |G_3| b p) / (m - |G_3|),  m the number of layers
//
// and the base selects within each layer. A layer cannot take more than it has; what is left goes to the
// others in proportion.
#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "evict/allocators/shares.h"
#include "evict/parts.h"
#include "evict/scoring.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr CaptureRequest kSimilarities{.window_queries = 32,
                                       .similarity = true};  // unless the base wants more

// Sum of squared distances from the mean of sorted[begin, end).
double scatter(std::span<const double> sorted, size_t begin, size_t end) {
  double sum = 0, squares = 0;
  for (size_t i = begin; i < end; i++) {
    sum += sorted[i];
    squares += sorted[i] * sorted[i];
  }
  return squares - sum * sum / static_cast<double>(end - begin);
}

// The least value of the highest of three groups, by k-means; in one dimension it can be had exactly.
double least_of_highest_group(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  double best = std::numeric_limits<double>::infinity();
  size_t cut = values.size();
  for (size_t a = 1; a + 1 < values.size(); a++) {
    for (size_t b = a + 1; b < values.size(); b++) {
      const double all = scatter(values, 0, a) + scatter(values, a, b) + scatter(values, b, values.size());
      if (all < best) {
        best = all;
        cut = b;
      }
    }
  }
  return cut < values.size() ? values[cut] : std::numeric_limits<double>::infinity();
}

class Squeeze : public Selector {
 public:
  Squeeze(std::unique_ptr<Selector> base, double least) : base_(std::move(base)), least_(least) {}

  CaptureRequest needs() const override { return base_->needs() | kSimilarities; }
  void check(const Network& network) const override { base_->check(network); }
  const Scorer* scorer() const override { return base_->scorer(); }
  int scorers() const override { return base_->scorers(); }

  Picks select(const Contest& contest, size_t budget) const override {
    if (contest.lanes.front().layer == contest.lanes.back().layer) return base_->select(contest, budget);
    // A pass over all tokens is one apart: for similarities the states of all layers are kept by blocks.
    const bool apart = base_->needs().all_queries();
    contest.scoring.capture(apart ? kSimilarities : needs(), apart ? 0 : scorers());
    std::vector<Contest> layers;
    std::vector<size_t> room;
    for (const Contestants& lane : contest.lanes) {
      if (layers.empty() || layers.back().lanes.back().layer != lane.layer) {
        layers.push_back({contest.scoring, {}});
        room.push_back(0);
      }
      layers.back().lanes.push_back(lane);
      room.back() += lane.entries.size();
    }
    const auto budgets = in_proportion(weights(layers), room, budget);
    if (apart) contest.scoring.capture(base_->needs(), scorers());
    Picks picks;
    for (size_t i = 0; i < layers.size(); i++) {
      for (auto& lane : base_->select(layers[i], budgets[i])) picks.push_back(std::move(lane));
    }
    return picks;
  }

 private:
  // [layer] of its budget
  std::vector<double> weights(std::span<const Contest> layers) const {
    std::vector<double> similar;
    for (const Contest& layer : layers) {
      const LayerView view = layer.scoring.view(layer.lanes[0].layer);
      const auto all = std::span(view.captures.similarities);
      const size_t tokens = view.captures.tokens;
      if (tokens == 0 || all.size() != tokens * view.cache.layers()) {
        fail(ErrorCode::invalid_argument, "evict", all.size(), " similarities captured for ", tokens,
             " tokens of ", view.cache.layers(), " layers");
      }
      const auto of_layer = all.subspan(view.layer * tokens, tokens);
      similar.push_back(std::accumulate(of_layer.begin(), of_layer.end(), 0.0) / static_cast<double>(tokens));
    }
    const double threshold = least_of_highest_group(similar);
    const auto squeezed = static_cast<double>(
        std::count_if(similar.begin(), similar.end(), [&](double s) { return s >= threshold; }));
    const auto m = static_cast<double>(similar.size());
    std::vector<double> weights;
    for (const double s : similar) {
      weights.push_back(s >= threshold ? least_ : (m - squeezed * least_) / (m - squeezed));
    }
    return weights;
  }

  std::unique_ptr<Selector> base_;
  double least_;
};

}  // namespace

CombinatorPart squeeze_combinator() {
  return {
      .name = "squeeze",
      .paper = "arXiv 2404.04793",
      .description = "Less for the layers whose attention changes the hidden state least.",
      .parameters = {{.name = "least",
                      .value = 0.35,
                      .description = "share of its budget that a layer of the least important group keeps",
                      .minimum = 0,
                      .maximum = 1,
                      .whole = false}},
      .make = [](const Parameters& parameters,
                 std::vector<std::unique_ptr<Selector>> bases) -> std::unique_ptr<Selector> {
        return std::make_unique<Squeeze>(std::move(bases[0]), parameters.get("least"));
      }};
}

}  // namespace kvedit
