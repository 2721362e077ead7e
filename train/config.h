// Settings of a training run as a table: each is a flag, a key of the JSON file, and stored in the result.
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
  double least = 0;  // of numbers
  double most = 1e9;
};
using Settings = std::vector<Setting>;

/// One table after the other.
Settings joined(Settings first, const Settings& second, const Settings& third);
Json to_json(const Settings& settings);
/// A run's description, for a file to pass on: without the paths of its settings, which are of whoever
/// trained.
Json without_paths(Json description);
/// Throws Error naming the key: not_found for one that is no setting, invalid_argument for a value of another
/// type, out_of_range with the limits.
void read_json(const Settings& settings, const Json& json);
/// A JSON file of settings. Throws also Error(not_found, corrupt).
void read_config(const Settings& settings, const std::string& path);
/// Throws Error(out_of_range) naming the setting and its limits.
void check(const Settings& settings);

}  // namespace kvedit::train
