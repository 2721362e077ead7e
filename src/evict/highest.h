// The highest of scores, ties settled by layer, head, then position.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "evict/policy.h"

namespace kvedit {

/// Returns the indices of the `count` highest scores, ascending; ties go to the earlier one.
std::vector<int> highest(std::span<const float> scores, size_t count);

/// Counts each lane's scores among the `budget` highest of all lanes; ties go to the first lane. Copies no
/// scores.
std::vector<int64_t> count_highest(std::span<const std::span<const float>> lanes, size_t budget);
std::vector<int64_t> count_highest(std::span<const Candidates> lanes, size_t budget);

}  // namespace kvedit
