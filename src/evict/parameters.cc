#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "evict/policy.h"

namespace kvedit {
namespace {

const PolicyParameter* find(const std::vector<PolicyParameter>& all, std::string_view name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& p) { return p.name == name; });
  return found == all.end() ? nullptr : &*found;
}

std::string shortest(double value) {
  char digits[32];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), value).ptr;
  return {digits, end};
}

double read_choice(const PolicyParameter& parameter, std::string_view value) {
  const auto& choices = parameter.choices;
  for (size_t i = 0; i < choices.size(); i++) {
    if (value == choices[i] || value == std::to_string(i)) return static_cast<double>(i);
  }
  fail(ErrorCode::invalid_argument, "evict", parameter.name, "=\"", value, "\" is none of ", join(choices));
}

double read_number(const PolicyParameter& parameter, std::string_view value) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool read = error == std::errc() && end == value.data() + value.size() && std::isfinite(number);
  if (!read || (parameter.whole && number != std::floor(number))) {
    fail(ErrorCode::invalid_argument, "evict", parameter.name, "=\"", value, "\" is not a ",
         parameter.whole ? "whole number" : "number");
  }
  if (number < parameter.minimum || number > parameter.maximum) {
    fail(ErrorCode::out_of_range, "evict", parameter.name, "=", value, " is outside ",
         shortest(parameter.minimum), "..", shortest(parameter.maximum));
  }
  return number;
}

}  // namespace

void Parameters::declare(std::vector<PolicyParameter> parameters) {
  for (PolicyParameter& parameter : parameters) {
    if (find(all_, parameter.name)) {
      fail(ErrorCode::invalid_argument, "evict", "parameter ", parameter.name, " is declared twice");
    }
    all_.push_back(std::move(parameter));
  }
}

void Parameters::set(std::string_view name, std::string_view value) {
  auto& parameter = const_cast<PolicyParameter&>(at(name));
  loaded_.erase(std::string(name));
  if (parameter.free_text) {
    parameter.text = value;
  } else {
    parameter.value =
        parameter.choices.empty() ? read_number(parameter, value) : read_choice(parameter, value);
  }
}

const PolicyParameter& Parameters::at(std::string_view name) const {
  const PolicyParameter* parameter = find(all_, name);
  if (!parameter) {
    fail(ErrorCode::invalid_argument, "evict", "no parameter \"", name,
         "\"; known: ", join(all_, &PolicyParameter::name));
  }
  return *parameter;
}

std::string Parameters::text(std::string_view name) const {
  const PolicyParameter& parameter = at(name);
  if (parameter.free_text) return parameter.text;
  return parameter.choices.empty() ? shortest(parameter.value)
                                   : parameter.choices.at(static_cast<size_t>(parameter.value));
}

}  // namespace kvedit
