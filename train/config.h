// Settings of a training run as a table. Each is a flag, a key of the JSON file, and a part of the stored
// result.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

namespace kvedit::train {

using Json = nlohmann::ordered_json;

struct Setting {
  std::string name;  // "learning-rate"
  std::variant<int*, double*, std::string*> value;
  std::string help;
  double least = 0;  // limits of a number
  double most = 1e9;
};
using Settings = std::vector<Setting>;

/// Joins tables.
Settings joined(Settings first, const Settings& second, const Settings& third);
Json to_json(const Settings& settings);
/// Copies a run's description without the paths of its settings, which belong to whoever trained, for a file
/// to pass on.
Json without_paths(Json description);
/// Throws Error naming the key: not_found for an unknown setting, invalid_argument for a value of another
/// type, out_of_range with the limits.
void read_json(const Settings& settings, const Json& json);
/// Reads a JSON file of settings. Throws also Error(not_found, corrupt).
void read_config(const Settings& settings, const std::string& path);
/// Throws Error(out_of_range) naming the setting and its limits.
void check(const Settings& settings);

}  // namespace kvedit::train
