// What of a context can be read again as it was: an evicted cache has lost what earlier tokens saw.
#pragma once

#include <span>

#include "cache/cache.h"

namespace kvedit {

/// How many of the last `positions` (ascending, the context's) every lane holds without a gap.
int held_tail(const Cache& cache, std::span<const Position> positions);

}  // namespace kvedit
