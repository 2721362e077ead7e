// Formatting of error messages in one expression.
#pragma once

#include <functional>
#include <locale>
#include <sstream>
#include <string>
#include <string_view>

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

/// Lists what `projection` makes of each element, as cat() writes it, with `separator` between them.
template <typename Range, typename Projection = std::identity>
std::string join(const Range& range, Projection projection = {}, std::string_view separator = ", ") {
  std::string list;
  bool first = true;
  for (const auto& element : range) {
    if (!first) list += separator;
    list += cat(std::invoke(projection, element));
    first = false;
  }
  return list;
}

/// Throws Error(code, where, cat(parts...)).
template <typename... Parts>
[[noreturn]] void fail(ErrorCode code, std::string_view where, const Parts&... parts) {
  throw Error(code, where, cat(parts...));
}

}  // namespace kvedit
