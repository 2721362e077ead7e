// Sharing a budget by weights among what has limited room.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace kvedit {

/// Shares summing to min(budget, sum of room), each within its room and otherwise in proportion to the
/// weights (not negative; all alike where all are 0), rounded by largest remainder, ties to the first.
std::vector<size_t> in_proportion(std::span<const double> weights, std::span<const size_t> room,
                                  size_t budget);

}  // namespace kvedit
