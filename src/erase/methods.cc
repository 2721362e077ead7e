#include "erase/methods.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/check.h"

namespace kvedit {
namespace {

// The table: a new method is one more line.
const std::array<const EraseMethod*, 6>& all_methods() {
  static const std::array<const EraseMethod*, 6> methods = {&recompute_method(), &mend_method(),
                                                            &steer_method(),     &repair_method(),
                                                            &shift_method(),     &drop_method()};
  return methods;
}

}  // namespace

std::string_view name(Exactness exactness) {
  static constexpr std::array<std::string_view, 3> kNames = {"exact", "learned", "approximate"};
  return kNames.at(static_cast<size_t>(exactness));
}

std::vector<EraseMethodInfo> erase_methods() {
  std::vector<EraseMethodInfo> infos;
  for (const EraseMethod* method : all_methods()) infos.push_back(method->info());
  return infos;
}

const EraseMethod& find_erase_method(std::string_view name) {
  std::string known;
  for (const EraseMethod* method : all_methods()) {
    if (method->info().name == name) return *method;
    known.append(known.empty() ? "" : ", ").append(method->info().name);
  }
  fail(ErrorCode::not_found, "erase", "no method '", name, "'; there are ", known);
}

EraseOptions with_numbers(EraseOptions options) {
  const std::string text = options.method;
  const size_t colon = text.find(':');
  options.method = text.substr(0, colon);
  const EraseMethod& method = find_erase_method(options.method);
  std::string_view rest = std::string_view(text).substr(std::min(colon, text.size()));
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the colon, a comma
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(item.size());
    const size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "" : item.substr(equals + 1);
    int number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    const bool known = method.has_windows() && (key == "window" || key == "tail");
    if (!known || error != std::errc() || end != value.data() + value.size()) {
      fail(ErrorCode::invalid_argument, "erase", "'", item, "' of ", text, " is ",
           method.has_windows() ? "neither window=N nor tail=N" : "too much: the method takes no numbers");
    }
    if (key == "window") {
      options.repair_window = number;
    } else {
      options.repair_tail = number;
    }
  }
  return options;
}

}  // namespace kvedit
