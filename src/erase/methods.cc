#include <array>
#include <charconv>

#include "base/check.h"
#include "base/key_values.h"
#include "erase/method.h"

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

std::string_view to_string(Exactness exactness) {
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

std::shared_ptr<const Lora> eraser_of(const std::shared_ptr<const Adapter>& given,
                                      const EraseMethodInfo& method, std::string_view where,
                                      std::string_view field) {
  auto adapter = std::dynamic_pointer_cast<const Lora>(given);
  if (method.needs_adapter && !adapter) {
    fail(ErrorCode::invalid_argument, where, method.name, " needs an eraser for this model: ", field,
         " is none");
  }
  return adapter;
}

EraseOptions with_numbers(EraseOptions options) {
  const std::string text = options.method;
  const size_t colon = text.find(':');
  options.method = text.substr(0, colon);
  const EraseMethod& method = find_erase_method(options.method);
  if (colon == std::string::npos) return options;
  if (!method.has_windows()) {
    fail(ErrorCode::invalid_argument, "erase", "\"", text, "\": ", options.method, " takes no numbers");
  }
  for (const auto& [key, value] : key_values(std::string_view(text).substr(colon + 1), "erase")) {
    int number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || (key != "window" && key != "tail")) {
      fail(ErrorCode::invalid_argument, "erase", key, "=", value, " of \"", text,
           "\" is neither window=N nor tail=N");
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
