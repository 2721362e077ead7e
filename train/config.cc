#include "train/config.h"

#include <algorithm>
#include <fstream>

#include "tools/text.h"

namespace kvedit::train {
namespace {

void check_range(const Setting& setting, double value) {
  if (value >= setting.least && value <= setting.most) return;
  fail(ErrorCode::out_of_range, "train", setting.name, " is ", value, ", possible are ", setting.least,
       " to ", setting.most);
}

[[noreturn]] void refuse(const Setting& setting, const Json& value, const char* wanted) {
  fail(ErrorCode::invalid_argument, "train", setting.name, " is ", value.dump().substr(0, 64), ", not ",
       wanted);
}

void set(int& to, const Setting& setting, const Json& value) {
  if (!value.is_number_integer()) refuse(setting, value, "a whole number");
  check_range(setting, value.get<double>());
  to = value.get<int>();
}

void set(double& to, const Setting& setting, const Json& value) {
  if (!value.is_number()) refuse(setting, value, "a number");
  check_range(setting, value.get<double>());
  to = value.get<double>();
}

void set(std::string& to, const Setting& setting, const Json& value) {
  if (!value.is_string()) refuse(setting, value, "a text");
  to = value.get<std::string>();
}

}  // namespace

Settings joined(Settings first, const Settings& second, const Settings& third) {
  for (const Settings* more : {&second, &third}) first.insert(first.end(), more->begin(), more->end());
  return first;
}

Json to_json(const Settings& settings) {
  Json json;
  for (const Setting& setting : settings)
    std::visit([&](const auto* value) { json[setting.name] = *value; }, setting.value);
  return json;
}

Json without_paths(Json description) {
  for (const char* path : {"model", "texts", "from"}) description.at("settings").erase(path);
  return description;
}

void read_json(const Settings& settings, const Json& json) {
  if (!json.is_object()) fail(ErrorCode::corrupt, "train", "settings are no JSON object");
  for (const auto& item : json.items()) {
    const std::string& key = item.key();
    const Json& value = item.value();
    const auto found =
        std::find_if(settings.begin(), settings.end(), [&](const Setting& s) { return s.name == key; });
    if (found == settings.end())
      fail(ErrorCode::not_found, "train", "no setting \"", key.substr(0, 64), "\"");
    std::visit([&](auto* to) { set(*to, *found, value); }, found->value);
  }
}

void read_config(const Settings& settings, const std::string& path) {
  std::ifstream file(path);
  if (!file) fail(ErrorCode::not_found, "train", "no file \"", path, "\"");
  const Json json = Json::parse(file, nullptr, false);
  if (!json.is_object()) fail(ErrorCode::corrupt, "train", "\"", path, "\" is no JSON object");
  read_json(settings, json);
}

void check(const Settings& settings) {
  for (const Setting& setting : settings) {
    if (const auto* whole = std::get_if<int*>(&setting.value)) check_range(setting, **whole);
    if (const auto* real = std::get_if<double*>(&setting.value)) check_range(setting, **real);
  }
}

}  // namespace kvedit::train
