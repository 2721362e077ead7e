#include "kvedit/error.h"

#include <array>

namespace kvedit {

std::string_view to_string(ErrorCode code) {
  static constexpr std::array<std::string_view, 11> kNames = {
      "invalid_argument", "out_of_range", "not_found", "ambiguous", "unsupported", "corrupt", "io",
      "no_memory",        "context_full", "busy",      "cancelled"};
  return kNames.at(static_cast<size_t>(code));
}

Error::Error(ErrorCode code, std::string_view where, const std::string& message, MemoryLimit limit)
    : std::runtime_error(std::string("[").append(where).append("] ").append(message)),
      code_(code),
      limit_(code == ErrorCode::no_memory && limit == MemoryLimit::none ? MemoryLimit::system : limit),
      where_bytes_(where.size()) {}

}  // namespace kvedit
