#include "evict/held_tail.h"

namespace kvedit {

int held_tail(const Cache& cache, std::span<const Position> positions) {
  size_t tail = positions.size();
  for (int layer = 0; layer < cache.layers(); layer++) {
    for (int head = 0; head < cache.kv_heads(); head++) {
      const auto pages = cache.lane(layer, head).pages();
      size_t held = 0;
      auto page = pages.end();
      for (int left = 0; held < tail; held++) {
        if (left == 0) {
          if (page == pages.begin()) break;
          left = (*--page)->count;
        }
        if ((*page)->positions[--left] != positions[positions.size() - 1 - held]) break;
      }
      tail = held;
    }
  }
  return static_cast<int>(tail);
}

}  // namespace kvedit
