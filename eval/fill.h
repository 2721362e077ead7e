// Python's str.format with named fields, which the benchmarks' prompts are written in.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvedit::eval {

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;  // name, value

/// Replaces each "{name}" of the pattern; values are not searched again.
std::string fill(std::string_view pattern, const Fields& fields);
/// Replaces each `from` by `to`.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);

}  // namespace kvedit::eval
