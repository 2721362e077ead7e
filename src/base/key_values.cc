#include "base/key_values.h"

#include <algorithm>

#include "base/check.h"

namespace kvedit {

std::vector<std::pair<std::string_view, std::string_view>> key_values(std::string_view text,
                                                                      std::string_view where) {
  std::vector<std::pair<std::string_view, std::string_view>> all;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
      fail(ErrorCode::invalid_argument, where, "\"", item, "\" is not key=value");
    }
    const std::string_view key = item.substr(0, equals);
    if (std::any_of(all.begin(), all.end(), [&](const auto& given) { return given.first == key; })) {
      fail(ErrorCode::invalid_argument, where, key, " is given twice");
    }
    all.emplace_back(key, item.substr(equals + 1));
    if (comma == std::string_view::npos) return all;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace kvedit
