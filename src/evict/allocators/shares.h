// Helpers of allocators: lanes by layer, and ways to share a budget among lanes of limited room.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "evict/policy.h"

namespace kvedit {

struct LayerLanes {
  std::span<const Candidates> lanes;
  size_t room = 0;  // candidates
};

std::vector<LayerLanes> by_layer(std::span<const Candidates> lanes, int kv_heads);

/// Returns the candidates of each lane, or layer, which limit its share.
std::vector<size_t> room_of(std::span<const Candidates> lanes);
std::vector<size_t> room_of(std::span<const LayerLanes> layers);

/// Returns shares summing to min(budget, sum of room), each within its room and otherwise equal; the
/// remainder goes one each to the first that have room left.
std::vector<size_t> water_fill(std::span<const size_t> room, size_t budget);

/// Returns shares summing to min(budget, sum of room), each within its room and otherwise in proportion to
/// the weights (not negative; all alike where all are 0), rounded by largest remainder, ties to the first.
std::vector<size_t> in_proportion(std::span<const double> weights, std::span<const size_t> room,
                                  size_t budget);

}  // namespace kvedit
