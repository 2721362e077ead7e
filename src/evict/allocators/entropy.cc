// LAVa's budgets (Shen et al., arXiv 2509.09754): a layer whose scores are spread needs more entries. With
// p the scores of all N candidates of layer l, divided by their sum, and B the budget,
//
//   B_l = B e_l / sum_l e_l,  e_l = -1/ln N sum_i p_i ln p_i
//
// and within a layer by each head's share of the highest scores, as in Ada-KV. What passes a layer's length
// goes to the others in the same proportion. Negative scores count as zero.
#include <algorithm>
#include <cmath>

#include "evict/allocators/shares.h"
#include "evict/parts.h"

namespace kvedit {
namespace {

double weight(float score) { return std::isfinite(score) && score > 0 ? score : 0; }

// e_l, at least 1e-6: a layer with one score that counts still takes its turn.
double spread(std::span<const Candidates> lanes) {
  double sum = 0;
  size_t n = 0;
  for (const Candidates& lane : lanes) {
    n += lane.scores.size();
    for (float s : lane.scores) sum += weight(s);
  }
  if (n < 2 || sum <= 0 || !std::isfinite(sum)) return 1;
  double entropy = 0;
  for (const Candidates& lane : lanes) {
    for (float s : lane.scores) {
      const double p = weight(s) / sum;
      if (p > 0) entropy -= p * std::log(p);
    }
  }
  return std::max(1e-6, entropy / std::log(static_cast<double>(n)));
}

class Entropy : public Allocator {
 public:
  explicit Entropy(std::unique_ptr<Allocator> heads) : heads_(std::move(heads)) {}

  std::vector<int> allocate(std::span<const Candidates> lanes, int kv_heads, size_t budget) const override {
    const auto layers = by_layer(lanes, kv_heads);
    std::vector<double> spreads;
    for (const LayerLanes& layer : layers) spreads.push_back(spread(layer.lanes));
    const auto budgets = in_proportion(spreads, room_of(layers), budget);
    std::vector<int> counts;
    for (size_t i = 0; i < layers.size(); i++) {
      const auto of_layer = heads_->allocate(layers[i].lanes, kv_heads, budgets[i]);
      counts.insert(counts.end(), of_layer.begin(), of_layer.end());
    }
    return counts;
  }

 private:
  std::unique_ptr<Allocator> heads_;  // within a layer
};

}  // namespace

AllocatorPart entropy_allocator() {
  AllocatorPart heads = adaptive_allocator();
  return {.name = "entropy",
          .paper = "arXiv 2509.09754",
          .description = "Layers by the entropy of their scores; within a layer as `adaptive`.",
          .parameters = heads.parameters,
          .make = [](const Parameters& parameters) -> std::unique_ptr<Allocator> {
            return std::make_unique<Entropy>(adaptive_allocator().make(parameters));
          }};
}

}  // namespace kvedit
