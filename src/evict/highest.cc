#include "evict/highest.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace kvedit {

std::vector<int> highest(std::span<const float> scores, size_t count) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::nth_element(order.begin(), order.begin() + static_cast<ptrdiff_t>(count), order.end(),
                   [&](int a, int b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<int64_t> count_highest(std::span<const Candidates> lanes, size_t budget) {
  if (budget == 0) return std::vector<int64_t>(lanes.size());
  std::vector<float> all;
  for (const Candidates& lane : lanes) all.insert(all.end(), lane.scores.begin(), lane.scores.end());
  const auto last = all.begin() + static_cast<ptrdiff_t>(budget) - 1;
  std::nth_element(all.begin(), last, all.end(), std::greater<>());
  const float threshold = *last;
  std::vector<int64_t> counts;
  for (const Candidates& lane : lanes) {
    counts.push_back(
        std::count_if(lane.scores.begin(), lane.scores.end(), [&](float s) { return s > threshold; }));
  }
  int64_t left = static_cast<int64_t>(budget) - std::accumulate(counts.begin(), counts.end(), int64_t{0});
  for (size_t g = 0; g < lanes.size(); g++) {
    const auto& scores = lanes[g].scores;
    const int64_t taken = std::min<int64_t>(left, std::count(scores.begin(), scores.end(), threshold));
    counts[g] += taken;
    left -= taken;
  }
  return counts;
}

}  // namespace kvedit
