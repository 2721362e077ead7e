#include <algorithm>
#include <array>
#include <limits>

#include "erase/method.h"
#include "tools/text.h"

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

ChosenMethod choose_method(std::string_view text) {
  const NamedText named = split_name(text);
  const auto& all = all_methods();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const EraseMethod* m) { return m->info().name == named.name; });
  if (found == all.end()) {
    fail(ErrorCode::not_found, "erase", "no method '", named.name, "'; there are ",
         join(all, [](const EraseMethod* m) { return m->info().name; }));
  }
  ChosenMethod chosen{**found, (*found)->info(), Parameters("erase", (*found)->info().parameters)};
  if (named.name.size() == text.size()) return chosen;
  try {
    for (const auto& [key, value] : key_values(named.parameters, "erase")) chosen.parameters.set(key, value);
  } catch (const Error& error) {
    fail(error.code(), "erase", named.name, ": ", error.message());
  }
  return chosen;
}

Parameter token_count(std::string name, int value, std::string description, int minimum) {
  constexpr double kMost = std::numeric_limits<int>::max();
  return {.name = std::move(name),
          .value = static_cast<double>(value),
          .description = std::move(description),
          .minimum = static_cast<double>(minimum),
          .maximum = kMost};
}

std::shared_ptr<const Lora> eraser_of(const std::shared_ptr<const Adapter>& given,
                                      const EraseMethodInfo& method, std::string_view where,
                                      std::string_view field) {
  std::shared_ptr<const Lora> adapter = given ? implementation(*given) : nullptr;
  if (method.needs_adapter && !adapter) {
    fail(ErrorCode::invalid_argument, where, method.name, " needs an eraser for this model: ", field,
         " is none");
  }
  return adapter;
}

std::vector<Span> repair_windows(const Transcript& t, std::span<const int> seams, int window, int tail) {
  const int cached = t.size() - 1;
  window = std::min(window, t.size());
  std::vector<Span> all;
  for (const int seam : seams) all.push_back({seam, seam + window});
  all.push_back({std::max(seams.front(), cached - std::min(tail, cached)), cached});
  return all;
}

void forward_windows(Edit& edit, std::vector<Span> spans) {
  const int cached = edit.transcript().size() - 1;
  std::sort(spans.begin(), spans.end(), [](Span a, Span b) { return a.begin < b.begin; });
  std::vector<Span> disjoint;
  int done = 0;
  for (Span span : spans) {
    span = {std::max(span.begin, done), std::min(span.end, cached)};
    if (span.size() <= 0) continue;
    disjoint.push_back(span);
    done = span.end;
  }
  edit.forward_again(disjoint);
}

}  // namespace kvedit
