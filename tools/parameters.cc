#include "tools/parameters.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tools/text.h"

namespace kvedit {
namespace {

const Parameter* find(const std::vector<Parameter>& all, std::string_view name) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& p) { return p.name == name; });
  return found == all.end() ? nullptr : &*found;
}

std::string shortest(double value) {
  char digits[32];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), value).ptr;
  return {digits, end};
}

double read_choice(const Parameter& parameter, std::string_view value, std::string_view where) {
  const auto& choices = parameter.choices;
  for (size_t i = 0; i < choices.size(); i++) {
    if (value == choices[i] || value == std::to_string(i)) return static_cast<double>(i);
  }
  fail(ErrorCode::invalid_argument, where, parameter.name, "=\"", value, "\" is none of ", join(choices));
}

double read_number(const Parameter& parameter, std::string_view value, std::string_view where) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool read = error == std::errc() && end == value.data() + value.size() && std::isfinite(number);
  if (!read || (parameter.whole && number != std::floor(number))) {
    fail(ErrorCode::invalid_argument, where, parameter.name, "=\"", value, "\" is not a ",
         parameter.whole ? "whole number" : "number");
  }
  if (number < parameter.minimum || number > parameter.maximum) {
    fail(ErrorCode::out_of_range, where, parameter.name, "=", value, " is outside ",
         shortest(parameter.minimum), "..", shortest(parameter.maximum));
  }
  return number;
}

}  // namespace

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

NamedText split_name(std::string_view text) {
  const size_t colon = text.find(':');
  return {text.substr(0, colon), colon == std::string_view::npos ? "" : text.substr(colon + 1)};
}

Parameters::Parameters(std::string_view where, std::vector<Parameter> declared) : where_(where) {
  declare(std::move(declared));
}

void Parameters::declare(std::vector<Parameter> parameters) {
  for (Parameter& parameter : parameters) {
    if (find(all_, parameter.name)) {
      fail(ErrorCode::invalid_argument, where_, "parameter ", parameter.name, " is declared twice");
    }
    all_.push_back(std::move(parameter));
  }
}

void Parameters::set(std::string_view name, std::string_view value) {
  auto& parameter = const_cast<Parameter&>(at(name));
  loaded_.erase(std::string(name));
  if (parameter.free_text) {
    parameter.text = value;
  } else {
    parameter.value = parameter.choices.empty() ? read_number(parameter, value, where_)
                                                : read_choice(parameter, value, where_);
  }
}

void Parameters::read(std::string_view text) {
  if (text.empty()) return;
  for (const auto& [key, value] : key_values(text, where_)) set(key, value);
}

const Parameter& Parameters::at(std::string_view name) const {
  const Parameter* parameter = find(all_, name);
  if (!parameter) {
    fail(ErrorCode::invalid_argument, where_, "no parameter \"", name,
         all_.empty() ? "\"; there are none" : "\"; known: ", join(all_, &Parameter::name));
  }
  return *parameter;
}

std::string Parameters::text(std::string_view name) const {
  const Parameter& parameter = at(name);
  if (parameter.free_text) return parameter.text;
  return parameter.choices.empty() ? shortest(parameter.value)
                                   : parameter.choices.at(static_cast<size_t>(parameter.value));
}

}  // namespace kvedit
