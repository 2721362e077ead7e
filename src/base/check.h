// Formatting of error messages in one expression.
#pragma once

#include <locale>
#include <sstream>
#include <string>

#include "kvedit/error.h"

namespace kvedit {

/// Concatenates its arguments as an ostream of the C locale prints them.
template <typename... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  out.imbue(std::locale::classic());  // whatever the host's
  (out << ... << parts);
  return out.str();
}

/// throw Error(code, where, cat(parts...)).
template <typename... Parts>
[[noreturn]] void fail(ErrorCode code, std::string_view where, const Parts&... parts) {
  throw Error(code, where, cat(parts...));
}

}  // namespace kvedit
