// Meets a length in tokens by choosing how much filler a text has.
#pragma once

#include <cmath>
#include <cstddef>

#include "tools/text.h"

namespace kvedit::eval {

/// The share of a length within which it counts as met.
inline constexpr double kTolerance = 0.02;

/// Finds by bisection the largest size of 0..most whose text has at most `length` tokens; tokens(size)
/// ascends but for a few. Throws Error(out_of_range) where the nearest misses by more than 2 %.
template <typename Tokens>
size_t fit(const Tokens& tokens, size_t most, int length) {
  size_t best = 0, reached = tokens(0);
  for (size_t low = 0; low < most;) {
    const size_t middle = low + (most - low + 1) / 2;
    const size_t count = tokens(middle);
    if (count <= static_cast<size_t>(length)) {
      best = low = middle;
      reached = count;
    } else {
      most = middle - 1;
    }
  }
  if (std::abs(static_cast<double>(reached) - length) > kTolerance * length) {
    fail(ErrorCode::out_of_range, "eval", "length ", length, " cannot be met within 2 %: the nearest is ",
         reached, " tokens");
  }
  return best;
}

}  // namespace kvedit::eval
