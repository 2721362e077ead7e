#include "evict/proportional.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kvedit {

std::vector<size_t> in_proportion(std::span<const double> weights, std::span<const size_t> room,
                                  size_t budget) {
  budget = std::min(budget, std::accumulate(room.begin(), room.end(), size_t{0}));
  std::vector<size_t> shares(room.size());
  std::vector<size_t> open(room.size());  // not full yet
  std::iota(open.begin(), open.end(), size_t{0});
  double all = 0;
  const auto part = [&](size_t i) {
    return static_cast<double>(budget) *
           (all > 0 ? weights[i] / all : 1.0 / static_cast<double>(open.size()));
  };
  for (bool filled = true; filled;) {
    all = 0;
    for (const size_t i : open) all += weights[i];
    const auto full = std::stable_partition(open.begin(), open.end(),
                                            [&](size_t i) { return part(i) < static_cast<double>(room[i]); });
    filled = full != open.end();
    for (auto i = full; i != open.end(); ++i) shares[*i] = room[*i];
    for (auto i = full; i != open.end(); ++i) budget -= std::min(room[*i], budget);
    open.erase(full, open.end());
  }
  size_t left = budget;
  for (const size_t i : open) {
    shares[i] = std::min(left, static_cast<size_t>(part(i)));
    left -= shares[i];
  }
  const auto remainder = [&](size_t i) { return part(i) - std::floor(part(i)); };
  std::stable_sort(open.begin(), open.end(), [&](size_t a, size_t b) { return remainder(a) > remainder(b); });
  for (size_t i = 0; i < open.size() && left > 0; i++, left--) shares[open[i]]++;
  return shares;
}

}  // namespace kvedit
