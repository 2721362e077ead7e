#include "bench/row.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace kvedit::bench {
namespace {

Json to_json(const Paired& paired, bool whole) {
  Json json = Json::object();
  const auto value = [whole](std::optional<double> v) {
    return !v ? Json() : whole ? Json(static_cast<uint64_t>(*v)) : Json(rounded(*v));
  };
  json["ours"] = value(paired.ours);
  json["peer"] = value(paired.peer());
  if (paired.peers.empty()) return json;
  json["peer_setting"] = paired.peer_setting();
  for (const auto& [setting, v] : paired.peers) json["peer_settings"][setting] = value(v);
  return json;
}

std::string three(const std::vector<double>& values) {
  if (values.empty()) return "-";
  const Summary s = summarize(values);
  return number(s.min) + " / " + number(s.median) + " / " + number(s.max);
}

std::string two(const Paired& paired, double unit) {
  const auto text = [unit](std::optional<double> v) { return v ? number(*v / unit) : std::string("-"); };
  return paired.ours || paired.peer() ? text(paired.ours) + " / " + text(paired.peer()) : "-";
}

std::string line(const std::string& name, const std::string& unit, const std::string& ours,
                 const std::string& peer, const std::string& setting, const std::string& ratio,
                 const std::string& first, const std::string& peak, const std::string& note) {
  char text[512];
  std::snprintf(text, sizeof text, "%-30s %-5s  %23s  %32s  %-9s  %20s  %17s  %13s  ", name.c_str(),
                unit.c_str(), ours.c_str(), peer.c_str(), setting.c_str(), ratio.c_str(), first.c_str(),
                peak.c_str());
  std::string result = text + note;
  result.erase(result.find_last_not_of(' ') + 1);
  return result;
}

}  // namespace

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text,
                value == std::floor(value) ? "%.0f"
                : value < 1                ? "%.3f"
                : value < 100              ? "%.2f"
                                           : "%.0f",
                value);
  return text;
}

std::string Row::name() const {
  return kind + "/" + std::to_string(length) + (what.empty() ? "" : "/" + what);
}

std::string Row::peer_setting() const {
  std::string best;
  double least = 0;
  for (const auto& [setting, values] : peers) {
    const double median = summarize(values).median;
    const double cost = higher_is_better() ? -median : median;
    if (best.empty() || cost < least) best = setting, least = cost;
  }
  return best;
}

std::vector<double> Row::peer() const {
  return peers.empty() ? std::vector<double>() : peers.at(peer_setting());
}

std::string Paired::peer_setting() const {
  const auto least = std::min_element(peers.begin(), peers.end(),
                                      [](const auto& a, const auto& b) { return a.second < b.second; });
  return least == peers.end() ? "" : least->first;
}

std::optional<double> Paired::peer() const {
  return peers.empty() ? std::nullopt : std::optional(peers.at(peer_setting()));
}

std::string amx_text(const Setting& setting) {
  if (!setting.machine.amx()) return "";
  return std::string("AMX: kvedit ") + (setting.amx ? "uses it" : "does not use it") +
         ", llama.cpp is built " +
         (setting.peer_build.find("AMX") == std::string::npos ? "without" : "with it");
}

double rounded(double value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double scale = std::pow(10, 5 - static_cast<int>(std::floor(std::log10(std::abs(value)))));
  return std::round(value * scale) / scale;
}

Json to_json(const Summary& s) {
  return {{"min", rounded(s.min)}, {"median", rounded(s.median)}, {"max", rounded(s.max)}};
}

Json to_json(const Row& row, const Setting& setting) {
  const auto summary = [](const std::vector<double>& values) {
    return values.empty() ? Json() : to_json(summarize(values));
  };
  Json json = {{"name", row.name()}, {"kind", row.kind}, {"length", row.length}, {"unit", row.unit}};
  json["ours"] = summary(row.ours);
  json["peer"] = summary(row.peer());
  if (!row.peers.empty()) json["peer_setting"] = row.peer_setting();
  for (const auto& [name, values] : row.peers) json["peer_settings"][name] = summary(values);
  if (!row.peer_action.empty()) json["beside"] = row.peer_action;
  json["ratio"] = summary(ratios(row.ours, row.peer(), row.higher_is_better()));
  json["first_token_ms"] = to_json(row.first_token_ms, false);
  json["peak_memory_bytes"] = to_json(row.peak_memory_bytes, true);
  json["resident_bytes"] = to_json(row.resident_bytes, true);
  json.update(row.details);
  json["repeat"] = setting.repeat;
  json["model"] = setting.model;
  json["weights"] = setting.weight_types;
  json["kernels"] = {{"linear", setting.linear}, {"attention", setting.attention}};
  json["peer_version"] = setting.peer_version.empty() ? Json() : Json(setting.peer_version);
  json["peer_build"] = setting.peer_build.empty() ? Json() : Json(setting.peer_build);
  json["amx"] = setting.amx;
  json["machine"] = {{"cpu", setting.machine.cpu},
                     {"features", setting.machine.features},
                     {"cores", setting.machine.cores},
                     {"threads", setting.threads}};
  json["command"] = "kvedit bench " + row.command + " " + setting.flags;
  return json;
}

std::string table_header(const Setting& s) {
  std::string text = s.machine.cpu + ", " + std::to_string(s.threads) + " threads, linear " + s.linear +
                     ", attention " + s.attention + "\n" + s.model;
  if (!s.peer_version.empty()) text += ", peer " + s.peer_version;
  if (const std::string amx = amx_text(s); !amx.empty()) text += "\n" + amx;
  text += "\n\n";
  text += line("work", "unit", "ours min/median/max", "peer, the better of its settings", "setting", "ratio",
               "first token ms", "peak MiB", "");
  const auto rule = [](int width) { return std::string(width, '-'); };
  return text + "\n" + line(rule(30), rule(5), rule(23), rule(32), rule(9), rule(20), rule(17), rule(13), "");
}

std::string table_line(const Row& row) {
  std::string note =
      row.peer_action.empty() ? "" : "beside: " + row.peer_action + (row.note.empty() ? "" : "; ");
  return line(row.name(), row.unit, three(row.ours), three(row.peer()), row.peer_setting(),
              three(ratios(row.ours, row.peer(), row.higher_is_better())), two(row.first_token_ms, 1),
              two(row.peak_memory_bytes, 1024 * 1024), note + row.note);
}

}  // namespace kvedit::bench
