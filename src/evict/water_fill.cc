#include "evict/water_fill.h"

#include <algorithm>
#include <numeric>

namespace kvedit {

std::vector<size_t> water_fill(std::span<const size_t> room, size_t budget) {
  std::vector<size_t> order(room.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return room[a] < room[b]; });
  std::vector<size_t> shares(room.begin(), room.end());
  size_t filled = 0;  // the first so many of the order are full
  while (filled < order.size() && room[order[filled]] <= budget / (order.size() - filled)) {
    budget -= room[order[filled++]];
  }
  if (filled == order.size()) return shares;
  // All others have room for more than the level, so for one of the remainder, too.
  const size_t level = budget / (order.size() - filled);
  size_t remainder = budget % (order.size() - filled);
  std::sort(order.begin() + static_cast<ptrdiff_t>(filled), order.end());
  for (size_t i = filled; i < order.size(); i++) {
    shares[order[i]] = level + (remainder > 0 ? 1 : 0);
    remainder -= remainder > 0;
  }
  return shares;
}

}  // namespace kvedit
