// A report's rows for people: charts, and tables by the kind of work.
#include <algorithm>
#include <map>
#include <sstream>

#include "bench/report.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

// ---- a row's fields; what is not there is empty ------------------------------------------------

std::optional<double> value(const Json& row, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  return row.contains(at) && row[at].is_number() ? std::optional(row[at].get<double>()) : std::nullopt;
}

std::string text(const Json& row, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  return row.contains(at) && row[at].is_string() ? row[at].get<std::string>() : "";
}

std::string or_dash(const std::string& words) { return words.empty() ? "-" : words; }

std::string shown(std::optional<double> v, double unit = 1) { return v ? number(*v / unit) : "-"; }

// "1.2 / **1.3** / 1.4"
std::string three(const Json& row, const std::string& name) {
  if (!value(row, "/" + name + "/median")) return "-";
  const auto part = [&](const char* which) { return shown(value(row, "/" + name + "/" + which)); };
  return cat(part("min"), " / **", part("median"), "** / ", part("max"));
}

std::string pair(const Json& row, const std::string& name, const char* first, const char* second,
                 double unit) {
  const auto a = value(row, "/" + name + "/" + first), b = value(row, "/" + name + "/" + second);
  return a || b ? shown(a, unit) + " / " + shown(b, unit) : "-";
}

// ---- tables --------------------------------------------------------------------------------------

struct Column {
  const char* header;
  std::string (*cell)(const Json& row);
};

constexpr double kMiB = 0x1p20;
const Column kWork = {"work", [](const Json& r) { return text(r, "/name"); }};
const Column kUnit = {"unit", [](const Json& r) { return text(r, "/unit"); }};
const Column kOurs = {"kvedit, min / median / max", [](const Json& r) { return three(r, "ours"); }};
const Column kPeer = {"llama.cpp", [](const Json& r) { return three(r, "peer"); }};
const Column kRatio = {"ratio", [](const Json& r) { return three(r, "ratio"); }};
const Column kAt = {"at", [](const Json& r) { return or_dash(text(r, "/peer_setting")); }};
const Column kBeside = {"beside", [](const Json& r) { return or_dash(text(r, "/beside")); }};
const Column kFirst = {"first token ms, kvedit / llama.cpp",
                       [](const Json& r) { return pair(r, "first_token_ms", "ours", "peer", 1); }};
const Column kPeak = {"peak MiB",
                      [](const Json& r) { return pair(r, "peak_memory_bytes", "ours", "peer", kMiB); }};
const Column kResident = {"resident MiB",
                          [](const Json& r) { return pair(r, "resident_bytes", "ours", "peer", kMiB); }};

struct Section {
  const char* heading;
  const char* words;
  std::vector<const char*> kinds;
  std::vector<Column> columns;
};

Section reading_section() {
  return {"Reading and decoding",
          "Peak and resident memory: of a process of its own that loads the model, reads, and decodes two "
          "tokens. llama.cpp's first token and peak are each at the better setting too, the last column.",
          {"prefill", "decode"},
          {kWork,
           kUnit,
           kOurs,
           kPeer,
           kAt,
           kRatio,
           kFirst,
           kPeak,
           kResident,
           {"first token / peak at", [](const Json& r) {
              return cat(or_dash(text(r, "/first_token_ms/peer_setting")), " / ",
                         or_dash(text(r, "/peak_memory_bytes/peer_setting")));
            }}}};
}

Section evicting_section() {
  return {"Evicting",
          "What compressing costs, as a share of reading the same tokens, and decoding afterwards beside "
          "llama.cpp with its full cache.",
          {"evict"},
          {kWork,
           {"score ms", [](const Json& r) { return three(r, "score_ms"); }},
           {"compact ms", [](const Json& r) { return three(r, "compact_ms"); }},
           {"% of the prefill", [](const Json& r) { return shown(value(r, "/evict_percent_of_prefill")); }},
           {"cache MiB, before / after",
            [](const Json& r) { return pair(r, "cache_bytes", "before", "after", kMiB); }},
           {"decode after, tok/s", kOurs.cell},
           {"llama.cpp, full cache", kPeer.cell},
           kAt,
           kRatio,
           kResident}};
}

Section erasing_section() {
  return {"Erasing",
          "Milliseconds from the call to the logits of the next token. Beside drop and shift llama.cpp does "
          "the same in its cache. Beside all others it keeps what stands before the span, where its cache "
          "allows that, and reads again what follows: the same work as recompute, and more than steer, mend "
          "and repair promise.",
          {"erase"},
          {kWork,
           {"kvedit ms, min / median / max", kOurs.cell},
           {"llama.cpp ms", kPeer.cell},
           kAt,
           kRatio,
           {"without the next step ms, kvedit / llama.cpp",
            [](const Json& r) {
              return value(r, "/call_ms/ours/median") ? cat(shown(value(r, "/call_ms/ours/median")), " / ",
                                                            shown(value(r, "/call_ms/peer/median")))
                                                      : std::string("-");
            }},
           {"tokens recomputed, kvedit / llama.cpp",
            [](const Json& r) { return pair(r, "tokens_recomputed", "ours", "peer", 1); }},
           {"exactness", [](const Json& r) { return text(r, "/exactness"); }},
           kBeside}};
}

Section forks_section() {
  return {"Forks and snapshots",
          "A fork shares pages. kvedit's snapshot has checksums and is on the disk (fsync) when it returns, "
          "llama.cpp's not.",
          {"fork", "save", "load"},
          {kWork,
           {"kvedit ms, min / median / max", kOurs.cell},
           {"llama.cpp ms", kPeer.cell},
           kAt,
           kRatio,
           {"file MiB, kvedit / llama.cpp",
            [](const Json& r) { return pair(r, "file_bytes", "ours", "peer", kMiB); }},
           {"pages copied / shared",
            [](const Json& r) {
              const auto copied = value(r, "/pages_copied"), shared = value(r, "/pages_shared");
              return copied && shared ? cat(*copied, " / ", *shared) : std::string("-");
            }},
           kBeside}};
}

const std::vector<Section>& sections() {
  static const std::vector<Section> all = {reading_section(), evicting_section(), erasing_section(),
                                           forks_section()};
  return all;
}

bool of(const Section& section, const Json& row) {
  return std::find(section.kinds.begin(), section.kinds.end(), text(row, "/kind")) != section.kinds.end();
}

void write_section(std::ostream& out, const Section& section, const std::vector<Json>& rows,
                   const std::vector<Chart>& drawn) {
  if (std::none_of(rows.begin(), rows.end(), [&](const Json& row) { return of(section, row); })) return;
  out << "\n## " << section.heading << "\n\n" << section.words << "\n";
  for (const Chart& chart : drawn) {
    if (chart.section == section.kinds.front())
      out << "\n![" << chart.lines.title << "](" << chart.name << ".svg)\n";
  }
  out << "\n|";
  for (const Column& column : section.columns) out << " " << column.header << " |";
  out << "\n|---|";
  for (size_t i = 1; i < section.columns.size(); i++) out << "---:|";
  for (const char* kind : section.kinds) {
    for (const Json& row : rows) {
      if (text(row, "/kind") != kind) continue;
      out << "\n|";
      for (const Column& column : section.columns) out << " " << column.cell(row) << " |";
    }
  }
  out << "\n";
}

// A line of the page, where the CPU has AMX.
std::string amx_line(const Json& row) {
  Setting setting;
  setting.machine.features = row.value(Json::json_pointer("/machine/features"), std::vector<std::string>());
  setting.amx = row.value("amx", false);
  setting.peer_build = text(row, "/peer_build");
  const std::string words = amx_text(setting);
  return words.empty() ? "" : "\n- " + words;
}

// ---- charts --------------------------------------------------------------------------------------

using Points = std::vector<plot::Lines::Point>;

// The summary `name` of a row over its length.
void add_point(Points& points, const Json& row, const std::string& name) {
  const auto length = value(row, "/length"), median = value(row, "/" + name + "/median");
  if (!length || !median) return;
  points.push_back({*length, {*median, value(row, "/" + name + "/min"), value(row, "/" + name + "/max")}});
}

// A series for each name in the order of their coming.
Points& series(plot::Lines& lines, const std::string& name) {
  for (auto& each : lines.series) {
    if (each.name == name) return each.points;
  }
  return lines.series.emplace_back(plot::Lines::Series{name, {}}).points;
}

Chart chart(const char* name, const char* section, const std::string& title, const char* y) {
  Chart made;
  made.name = name;
  made.section = section;
  made.lines.title = title;
  made.lines.x.label = "tokens of context";
  made.lines.y.label = y;
  made.lines.y.low = 0;
  return made;
}

Json settings(const Json& row, const std::string& pointer) {
  return row.value(Json::json_pointer(pointer + "peer_settings"), Json::object());
}

// The peer at each of its settings.
void add_settings(plot::Lines& lines, const Json& row) {
  const Json all = settings(row, "/");
  for (const auto& each : all.items())
    add_point(series(lines, "llama.cpp, " + each.key()), row, "peer_settings/" + each.key());
}

// The peer's series beside a method of ours, at its better setting for each length.
const std::map<std::string, std::string>& erasing_peers() {
  static const std::map<std::string, std::string> all = {{"recompute", "llama.cpp, reads again"},
                                                         {"shift", "llama.cpp, beside shift"},
                                                         {"drop", "llama.cpp, beside drop"}};
  return all;
}

std::string evicted(const Json& row) {
  return cat("kvedit, ", text(row, "/policy"), " to ", text(row, "/keep"));
}

void add_memory(plot::Lines& lines, const std::string& name, const Json& row, const std::string& pointer) {
  const auto length = value(row, "/length"), bytes = value(row, pointer);
  if (length && bytes) series(lines, name).push_back({*length, {*bytes / kMiB}});
}

}  // namespace

std::vector<Chart> report_charts(const std::vector<Json>& rows) {
  Chart prefill = chart("prefill", "prefill", "Reading a text", "tokens a second");
  Chart decode = chart("decode", "prefill", "Decoding after so many tokens", "tokens a second");
  Chart memory = chart("memory", "prefill", "Memory of a process, model included", "MiB");
  Chart erase = chart("erase", "erase", "Erasing a span at 10 % of the context", "ms");
  erase.lines.y.low.reset();
  erase.lines.x.log = erase.lines.y.log = true;
  for (const Json& row : rows) {
    const std::string kind = text(row, "/kind");
    if (kind == "prefill" || kind == "decode") {
      plot::Lines& lines = (kind == "prefill" ? prefill : decode).lines;
      add_point(series(lines, "kvedit"), row, "ours");
      add_settings(lines, row);
    }
    if (kind == "prefill") {
      add_memory(memory.lines, "kvedit, peak", row, "/peak_memory_bytes/ours");
      const Json all = settings(row, "/peak_memory_bytes/");
      for (const auto& each : all.items())
        add_memory(memory.lines, cat("llama.cpp, ", each.key(), ", peak"), row,
                   "/peak_memory_bytes/peer_settings/" + each.key());
    }
    if (kind == "evict") {
      add_point(series(decode.lines, evicted(row)), row, "ours");
      add_memory(memory.lines, evicted(row), row, "/resident_bytes/ours");
    }
    if (kind == "erase") {
      add_point(series(erase.lines, "kvedit, " + text(row, "/method")), row, "ours");
      const auto peer = erasing_peers().find(text(row, "/method"));
      if (peer != erasing_peers().end()) add_point(series(erase.lines, peer->second), row, "peer");
    }
  }
  std::vector<Chart> charts = {std::move(prefill), std::move(decode), std::move(memory), std::move(erase)};
  for (Chart& each : charts) {
    std::erase_if(each.lines.series, [](const auto& s) { return s.points.empty(); });
    for (auto& s : each.lines.series) {
      std::stable_sort(s.points.begin(), s.points.end(),
                       [](const auto& a, const auto& b) { return a.x < b.x; });
    }
  }
  std::erase_if(charts, [](const Chart& each) { return each.lines.series.empty(); });
  return charts;
}

std::string report_markdown(const std::vector<Json>& rows, const std::string& command,
                            const std::vector<Chart>& drawn) {
  std::ostringstream out;
  const auto measured =
      std::find_if(rows.begin(), rows.end(), [](const Json& r) { return r.contains("machine"); });
  const Json common = measured == rows.end() ? Json::object() : *measured;
  const std::string model = text(common, "/model");
  out << "# Speed and memory: " << model.substr(model.find_last_of('/') + 1) << ", "
      << shown(value(common, "/machine/threads")) << " threads\n\n"
      << "Both sides in one process, repetitions interleaved, the same file, tokens and threads; llama.cpp "
         "with an "
         "F16 cache,\neach work with flash attention and without: the faster is shown, \"at\" says which. A "
         "ratio "
         "above 1 means kvedit is better.\n`report.jsonl` has each row with the command that measures it "
         "alone, "
         "and both settings.\n\n"
      << "- machine: " << text(common, "/machine/cpu") << ", " << shown(value(common, "/machine/cores"))
      << " cores";
  if (common.contains("machine")) {
    for (const Json& feature : common["machine"].value("features", Json::array()))
      out << ", " << (feature.is_string() ? feature.get<std::string>() : "");
  }
  out << "\n- weights: " << text(common, "/weights") << "; kernels: projections "
      << text(common, "/kernels/linear") << ", attention " << text(common, "/kernels/attention")
      << "\n- beside: " << text(common, "/peer_version") << ", built for "
      << or_dash(text(common, "/peer_build")) << amx_line(common) << "\n- command: `" << command << "`\n";
  for (const Section& section : sections()) write_section(out, section, rows, drawn);
  bool first = true;
  for (const Json& row : rows) {
    if (!row.contains("error")) continue;
    if (first) out << "\n## Failed\n\n";
    first = false;
    out << "- " << text(row, "/job") << ": " << text(row, "/error/message") << "\n";
  }
  return out.str();
}

}  // namespace kvedit::bench
