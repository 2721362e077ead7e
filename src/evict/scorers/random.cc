// Random eviction, the baseline every policy must beat: scores are lots, drawn by a hash of (seed,
// layer, head, position), so that a position keeps its lot whatever else the lane holds.
#include <cstdint>

#include "evict/parts.h"

namespace kvedit {
namespace {

uint64_t mix(uint64_t x) {  // SplitMix64's step and finaliser
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

class Random : public Scorer {
 public:
  LayerScores score(const LayerView& view) const override {
    LayerScores scores(view.cache.kv_heads());
    for (int head = 0; head < view.cache.kv_heads(); head++) {
      const uint64_t lane =
          mix(mix(mix(view.seed) ^ static_cast<uint64_t>(view.layer)) ^ static_cast<uint64_t>(head));
      for (Position position : view.cache.lane(view.layer, head).positions()) {
        const uint64_t lot = mix(lane ^ static_cast<uint64_t>(position));
        scores[head].push_back(static_cast<float>(lot >> 40) / static_cast<float>(1 << 24));
      }
    }
    return scores;
  }
};

}  // namespace

ScorerPart random_scorer() {
  return {.name = "random",
          .paper = "",
          .description = "Entries drawn by lot, by a hash of seed, layer, head and position.",
          .make = [](const Parameters&) -> std::unique_ptr<Scorer> { return std::make_unique<Random>(); }};
}

}  // namespace kvedit
