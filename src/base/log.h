// The library's side of the logging sink.
#pragma once

#include <string_view>

#include "kvedit/types.h"

namespace kvedit {

enum LogLevel : int { kLogError = 3, kLogWarning = 4, kLogInfo = 6, kLogDebug = 7 };

/// Hands a line to the sink, if one is set. Thread-safe.
void log(int level, std::string_view line);

}  // namespace kvedit
