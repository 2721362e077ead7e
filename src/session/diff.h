// The differences between two token sequences (Myers, "An O(ND) Difference Algorithm", 1986).
#pragma once

#include <span>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

/// A difference: tokens [before) of the old sequence become [after) of the new one; either may be empty.
struct Hunk {
  Span before;
  Span after;
};

/// Returns the shortest edit script, as hunks in ascending order; between hunks the sequences agree. The work
/// is bounded: far apart as they are, sequences become one hunk between their common beginning and end.
std::vector<Hunk> diff(std::span<const Token> before, std::span<const Token> after);

}  // namespace kvedit
