// The check that every list of positions passes first.
#pragma once

#include <span>
#include <string_view>

#include "kvedit/types.h"
#include "tools/text.h"

namespace kvedit {

/// Throws unless positions are non-negative and strictly ascending.
inline void check_ascending(std::string_view primitive, std::span<const Position> positions) {
  if (positions.empty()) return;
  if (positions.front() < 0) {
    fail(ErrorCode::invalid_argument, "cache", primitive, " position ", positions.front(), " is negative");
  }
  for (size_t i = 1; i < positions.size(); i++) {
    if (positions[i] > positions[i - 1]) continue;
    fail(ErrorCode::invalid_argument, "cache", primitive, " position ", positions[i],
         " does not ascend: it comes after ", positions[i - 1]);
  }
}

}  // namespace kvedit
