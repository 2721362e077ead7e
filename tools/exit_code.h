// Exit codes of our programs.
#pragma once

#include "kvedit/error.h"

namespace kvedit {

constexpr int exit_runtime = 1;
constexpr int exit_usage = 2;
constexpr int exit_cancelled = 3;

/// Gives 2 for errors that arguments can cause, 3 for cancelled, else 1.
inline int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::out_of_range:
    case ErrorCode::not_found:
    case ErrorCode::ambiguous:
      return exit_usage;
    case ErrorCode::cancelled:
      return exit_cancelled;
    default:
      return exit_runtime;
  }
}

}  // namespace kvedit
