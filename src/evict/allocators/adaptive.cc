// Ada-KV (Feng et al., "Ada-KV: Optimizing KV Cache Eviction by Adaptive Budget Allocation", arXiv
// 2407.11550, algorithm 1): layers get equal budgets, and within a layer of H lanes and budget H k
//
//   B_g = (1 - alpha) f_g + alpha k,
//
// f_g the entries of lane g among the layer's H k highest scores, alpha the uniform safeguard. (The
// paper's text has alpha the other way round; its code and appendix are as here.)
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "evict/allocators/shares.h"
#include "evict/highest.h"
#include "evict/parts.h"

namespace kvedit {
namespace {

class Adaptive : public Allocator {
 public:
  explicit Adaptive(double alpha) : alpha_(std::llround(alpha * kUnit)) {}

  std::vector<int> allocate(std::span<const Candidates> lanes, int kv_heads, size_t budget) const override {
    const auto layers = by_layer(lanes, kv_heads);
    const auto budgets = water_fill(room_of(layers), budget);
    std::vector<int> counts;
    for (size_t i = 0; i < layers.size(); i++) {
      const auto of_layer = allocate_layer(layers[i].lanes, budgets[i]);
      counts.insert(counts.end(), of_layer.begin(), of_layer.end());
    }
    return counts;
  }

 private:
  // alpha in millionths, so that shares and their remainders are exact and ties are really ties.
  static constexpr int64_t kUnit = 1'000'000;

  std::vector<int> allocate_layer(std::span<const Candidates> lanes, size_t budget) const {
    if (budget == 0) return std::vector<int>(lanes.size());
    const auto heads = static_cast<int64_t>(lanes.size());
    const int64_t whole = kUnit * heads;
    auto shares = count_highest(lanes, budget);
    std::vector<int64_t> remainders(lanes.size());
    auto left = static_cast<int64_t>(budget);
    for (size_t g = 0; g < lanes.size(); g++) {
      const int64_t exact = (kUnit - alpha_) * shares[g] * heads + alpha_ * static_cast<int64_t>(budget);
      shares[g] = exact / whole;
      remainders[g] = exact % whole;
      left -= shares[g];
    }
    std::vector<size_t> order(lanes.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return remainders[a] > remainders[b]; });
    for (int64_t i = 0; i < left; i++) shares[order[i]]++;
    return cap(lanes, shares);
  }

  // What passes a lane's length is shared equally by the lanes with room.
  static std::vector<int> cap(std::span<const Candidates> lanes, std::span<const int64_t> shares) {
    size_t surplus = 0;
    std::vector<size_t> room(lanes.size());
    for (size_t g = 0; g < lanes.size(); g++) {
      const auto share = static_cast<size_t>(shares[g]);
      const size_t length = lanes[g].scores.size();
      surplus += share > length ? share - length : 0;
      room[g] = share > length ? 0 : length - share;
    }
    const auto extra = water_fill(room, surplus);
    std::vector<int> counts(lanes.size());
    for (size_t g = 0; g < lanes.size(); g++) {
      counts[g] = static_cast<int>(std::min<size_t>(shares[g], lanes[g].scores.size()) + extra[g]);
    }
    return counts;
  }

  int64_t alpha_;
};

}  // namespace

AllocatorPart adaptive_allocator() {
  return {.name = "adaptive",
          .paper = "arXiv 2407.11550",
          .description = "Layers alike; within a layer by each head's share of the highest scores.",
          .parameters = {{.name = "alpha",
                          .value = 0.2,
                          .description = "share of the layer's budget spread equally over its heads",
                          .minimum = 0,
                          .maximum = 1,
                          .whole = false}},
          .make = [](const Parameters& parameters) -> std::unique_ptr<Allocator> {
            return std::make_unique<Adaptive>(parameters.get("alpha"));
          }};
}

}  // namespace kvedit
