// Sharing a budget equally among what has limited room.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace kvedit {

/// Shares summing to min(budget, sum of room), each within its room and otherwise equal; what does not
/// divide goes one each to the first that have room left.
std::vector<size_t> water_fill(std::span<const size_t> room, size_t budget);

}  // namespace kvedit
