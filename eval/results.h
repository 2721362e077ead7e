// The results of an evaluation on disk: a line of JSON each, written as they come, so that a run that was
// killed goes on where it stopped. The first line says what the results depend on.
#pragma once

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "eval/grid.h"

namespace kvedit::eval {

using Json = nlohmann::ordered_json;

class Results {
 public:
  /// Opens or makes `path`. setting: an object of what all results have in common; metrics: names of the
  /// scores. Cuts off a last line that a killed run left unfinished. Throws Error(invalid_argument) when
  /// there are results and `resume` is false, or when their setting differs, naming the difference;
  /// Error(corrupt) with file and line for a line that is no result; Error(io).
  Results(std::string path, const Json& setting, std::vector<std::string> metrics, bool resume);

  bool have(int length, int example, const Cell& cell) const;
  /// Writes the result; it is on its way to the disk when this returns.
  void add(const Result& result);
  /// Throws Error(not_found) for a missing one.
  const Result& get(int length, int example, const Cell& cell) const;
  size_t size() const { return results_.size(); }
  Json to_json(const Result& result) const;

 private:
  using Key = std::tuple<int, int, std::string>;
  void check_setting(const std::string& line, const Json& setting) const;
  Result parse(const std::string& line) const;
  void write(const Json& line);

  std::string path_;
  std::vector<std::string> metrics_;
  std::map<Key, Result> results_;
  std::ofstream file_;
};

/// Reads what our lines and a peer's have in common: all but the erase method and the questions. Throws
/// nlohmann::json::exception.
Result read_measured(const Json& json);

/// Returns all results of the grid as {"setting", "results": [...]}, ordered by lengths, examples and cells.
Json all_results(const Results& results, const Grid& grid, const Json& setting);

}  // namespace kvedit::eval
