// One top-k over all lanes of the model (LaProx, arXiv 2605.07234, algorithm 2), for scores that compare
// across heads and layers; with a floor, each lane keeps that many of its best first.
#include <algorithm>
#include <numeric>

#include "evict/allocators/shares.h"
#include "evict/highest.h"
#include "evict/parts.h"

namespace kvedit {
namespace {

class Global : public Allocator {
 public:
  explicit Global(size_t floor) : floor_(floor) {}

  std::vector<int> allocate(std::span<const Candidates> lanes, int /*kv_heads*/,
                            size_t budget) const override {
    auto room = room_of(lanes);
    budget = std::min(budget, std::accumulate(room.begin(), room.end(), size_t{0}));
    for (size_t& r : room) r = std::min(r, floor_);
    const auto floors = water_fill(room, budget);
    std::vector<int> counts(lanes.size(), -1);
    // A lane that its floor lifts makes it harder for all, so what one pass lifts stays at its floor.
    for (bool lifted = true; lifted;) {
      lifted = false;
      std::vector<std::span<const float>> open;
      for (size_t i = 0; i < lanes.size(); i++) {
        if (counts[i] < 0) open.emplace_back(lanes[i].scores);
      }
      const auto highest = count_highest(open, budget);
      std::vector<int> next = counts;
      for (size_t i = 0, at = 0; i < lanes.size(); i++) {
        if (counts[i] >= 0) continue;
        next[i] = static_cast<int>(highest[at++]);
      }
      for (size_t i = 0; i < lanes.size(); i++) {
        if (counts[i] >= 0 || next[i] >= static_cast<int>(floors[i])) continue;
        counts[i] = static_cast<int>(floors[i]);
        budget -= floors[i];
        lifted = true;
      }
      if (!lifted) counts = next;
    }
    return counts;
  }

 private:
  size_t floor_;
};

}  // namespace

AllocatorPart global_allocator() {
  return {.name = "global",
          .paper = "arXiv 2605.07234",
          .description = "The highest scores of the whole model, whichever lanes they are in.",
          .parameters = {{.name = "floor",
                          .value = 0,
                          .description = "entries a lane keeps first, besides sinks and recent ones",
                          .maximum = 1 << 24}},
          .make = [](const Parameters& parameters) -> std::unique_ptr<Allocator> {
            return std::make_unique<Global>(parameters.integer("floor"));
          }};
}

}  // namespace kvedit
