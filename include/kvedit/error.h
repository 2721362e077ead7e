// Errors: the library throws one type. It never prints, exits or aborts.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace kvedit {

enum class ErrorCode {
  invalid_argument,  // a value that no state of the session would accept
  out_of_range,      // a span, position or budget outside what exists
  not_found,         // text, file, policy or method that does not exist
  ambiguous,         // text found more than once where once was meant
  unsupported,       // a model, template or combination this build does not run
  corrupt,           // a damaged, truncated or foreign file
  io,                // the operating system refused a read or a write
  no_memory,         // a page pool's or session's byte limit would be passed
  context_full,      // the model's context length would be passed
  busy,              // a second caller on one session
  cancelled,         // the caller's cancellation or callback stopped the work
};

/// "no_memory", "context_full", ...
std::string_view to_string(ErrorCode code);

/// Which limit a no_memory is of: the session's byte_limit, the pool's for all sessions of a model, or what
/// the system has.
enum class MemoryLimit { none, session, pool, system };

/// what() reads "[where] what went wrong, the value at fault, the limit".
class Error : public std::runtime_error {
 public:
  /// limit: of no_memory, the system's if not given.
  Error(ErrorCode code, std::string_view where, const std::string& message,
        MemoryLimit limit = MemoryLimit::none);
  ErrorCode code() const { return code_; }
  MemoryLimit limit() const { return limit_; }
  /// Names the part of the library that failed, as "model"; lives as long as the error.
  std::string_view where() const { return std::string_view(what()).substr(1, where_bytes_); }
  /// Says what went wrong, without "[where] "; lives as long as the error.
  std::string_view message() const { return std::string_view(what()).substr(where_bytes_ + 3); }

 private:
  ErrorCode code_;
  MemoryLimit limit_;
  size_t where_bytes_;
};

}  // namespace kvedit
