// The parameters that stand behind a name: "key=value,key=value".
#pragma once

#include <string_view>
#include <utility>
#include <vector>

namespace kvedit {

/// Lists them in their order, as views of `text`. Throws Error(invalid_argument) of `where`, quoting what is
/// not key=value or naming a key that is given twice.
std::vector<std::pair<std::string_view, std::string_view>> key_values(std::string_view text,
                                                                      std::string_view where);

}  // namespace kvedit
