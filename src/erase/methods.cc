#include "erase/methods.h"

#include <array>

#include "base/check.h"

namespace kvedit {
namespace {

// The table: a new method is one more line.
const std::array<const EraseMethod*, 5>& all_methods() {
  static const std::array<const EraseMethod*, 5> methods = {
      &recompute_method(), &steer_method(), &repair_method(), &shift_method(), &drop_method()};
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

}  // namespace kvedit
