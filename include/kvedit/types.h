// Small value types used everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace kvedit {

using Token = int32_t;
using Position = int32_t;

/// A half-open range [begin, end) of transcript indices (or of positions, where said so).
struct Span {
  int begin = 0;
  int end = 0;
  int size() const { return end - begin; }
  bool operator==(const Span&) const = default;
};

/// Called between blocks of long work with tokens done and in all; return false to cancel.
using Progress = std::function<bool(size_t done, size_t total)>;

/// Receives the library's log lines; levels as in syslog: 3 error, 4 warning, 6 info, 7 debug.
using LogSink = std::function<void(int level, std::string_view line)>;

/// Sets the one logging sink of the process (none by default: silence).
void set_log_sink(LogSink sink);

}  // namespace kvedit
