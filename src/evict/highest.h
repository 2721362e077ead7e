// The highest of scores, ties settled by layer, head, then position.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "evict/policy.h"

namespace kvedit {

/// Indices of the `count` highest scores, ascending; ties go to the earlier one.
std::vector<int> highest(std::span<const float> scores, size_t count);

/// How many of each lane's scores are among the `budget` highest of all lanes, no more than there are; ties
/// go to the first lane. Copies no scores.
std::vector<int64_t> count_highest(std::span<const std::span<const float>> lanes, size_t budget);
std::vector<int64_t> count_highest(std::span<const Candidates> lanes, size_t budget);

}  // namespace kvedit
