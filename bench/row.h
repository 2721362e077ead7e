// A line of results: both runtimes, repetition by repetition, and what else was seen.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "bench/setting.h"

namespace kvedit::bench {

using Json = nlohmann::ordered_json;

/// A measure of which less is better, of both runtimes. The peer's is the best of its settings.
struct Paired {
  std::optional<double> ours;
  std::map<std::string, double> peers = {};  // by setting

  std::optional<double> peer() const;
  std::string peer_setting() const;
};

struct Row {
  std::string kind;               // "decode"
  int length = 0;                 // tokens of the context
  std::string what = {};          // "snapkv@10%", where a kind has several rows of a length
  std::string unit = {};          // "tok/s", higher is better, or "ms", lower is better
  std::vector<double> ours = {};  // [repeat]
  std::map<std::string, std::vector<double>> peers = {};  // by setting, [repeat]
  std::string peer_action = {};  // what the peer does, where that is not what ours does
  Paired first_token_ms = {};
  Paired peak_memory_bytes = {};  // of a process that does only this
  Paired resident_bytes = {};     // of that process when the work is done
  Json details = Json::object();  // fields that only this kind of row has
  std::string note = {};          // the details for people
  std::string command = {};       // arguments of the command: "decode --cached 8000"

  std::string name() const;  // "decode/8000", "evict/8000/snapkv@10%"
  bool higher_is_better() const { return unit == "tok/s"; }
  /// The setting of the better median; empty without a peer.
  std::string peer_setting() const;
  /// Returns the peer's values at that setting, [repeat].
  std::vector<double> peer() const;
};

/// Writes a number for people: 0.123, 12.34, 123; a whole number in full.
std::string number(double value);
/// Writes "AMX: kvedit uses it, llama.cpp is built without" for a CPU that has it, else nothing.
std::string amx_text(const Setting& setting);
/// Rounds to six significant digits: more would be noise.
double rounded(double value);
Json to_json(const Row& row, const Setting& setting);
Json to_json(const Summary& summary);

/// Writes a table with aligned columns line by line, as results come.
std::string table_header(const Setting& setting);
std::string table_line(const Row& row);

}  // namespace kvedit::bench
