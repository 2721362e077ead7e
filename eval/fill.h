// Python's str.format with named fields: what the benchmarks write their prompts in.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvedit::eval {

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;  // name, value

/// `pattern` with each "{name}" replaced; what stands in a value is not looked at again.
std::string fill(std::string_view pattern, const Fields& fields);
/// `text` with each `from` replaced by `to`.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);

}  // namespace kvedit::eval
