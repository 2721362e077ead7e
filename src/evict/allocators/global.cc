// One top-k over all lanes of the model (LaProx, arXiv 2605.07234, algorithm 2), for scores that compare
// across heads and layers; with a floor, each lane keeps that many of its best first.
#include <algorithm>
#include <functional>

#include "evict/highest.h"
#include "evict/layers.h"
#include "evict/parts.h"
#include "evict/water_fill.h"

namespace kvedit {
namespace {

class Global : public Allocator {
 public:
  explicit Global(size_t floor) : floor_(floor) {}

  std::vector<int> allocate(std::span<const Candidates> lanes, int /*kv_heads*/,
                            size_t budget) const override {
    auto room = room_of(lanes);
    for (size_t& r : room) r = std::min(r, floor_);
    const auto floors = water_fill(room, budget);
    std::vector<Candidates> rest(lanes.begin(), lanes.end());
    size_t left = 0;
    for (size_t i = 0; i < rest.size(); i++) {
      budget -= floors[i];
      auto& scores = rest[i].scores;
      const auto end = scores.begin() + static_cast<ptrdiff_t>(floors[i]);
      std::nth_element(scores.begin(), end, scores.end(), std::greater<>());
      scores.erase(scores.begin(), end);
      left += scores.size();
    }
    const auto more = count_highest(rest, std::min(budget, left));
    std::vector<int> counts;
    for (size_t i = 0; i < rest.size(); i++) counts.push_back(static_cast<int>(floors[i] + more[i]));
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
