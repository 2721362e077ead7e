#include "eval/charts.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <map>

#include "eval/plot.h"
#include "kvedit/evict.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

constexpr std::string_view kDepths = "all depths/";

// For a file's name: letters, digits, '.', and '-' for the rest.
std::string file_name(std::string text) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    c = static_cast<char>(std::isalnum(byte) || c == '.' ? std::tolower(byte) : '-');
  }
  return text;
}

template <typename T>
size_t index_of(std::vector<T>& all, const T& value) {
  const auto found = std::find(all.begin(), all.end(), value);
  if (found != all.end()) return found - all.begin();
  all.push_back(value);
  return all.size() - 1;
}

std::string title(const Report& report, const std::string& what, int length) {
  return report.task.sized ? cat(what, ", ", length, " tokens") : what;
}

void draw_bars(const Report& report, size_t metric, int length, const std::string& folder) {
  plot::Bars chart;
  std::vector<std::string> cells;
  std::vector<const ReportRow*> rows;
  for (const ReportRow& row : report.rows) {
    if (row.length != length || !row.scores[metric] || row.kind.starts_with(kDepths)) continue;
    rows.push_back(&row);
    index_of(cells, row.cell.text());
    index_of(chart.groups, row.kind.empty() ? report.task.name : row.kind);
  }
  if (rows.empty()) return;
  const plot::Value none{std::numeric_limits<double>::quiet_NaN(), {}, {}};
  for (const std::string& cell : cells)
    chart.series.push_back({cell, std::vector<plot::Value>(chart.groups.size(), none)});
  for (const ReportRow* row : rows) {
    const Interval& score = *row->scores[metric];
    const size_t group = index_of(chart.groups, row->kind.empty() ? report.task.name : row->kind);
    chart.series[index_of(cells, row->cell.text())].values[group] = {score.mean, score.low, score.high};
  }
  const std::string& name = report.task.metrics[metric].name;
  chart.title = title(report, report.task.name, length);
  chart.y.label = name;
  plot::draw(script(chart), cat(folder, "/", file_name(name), "-", length));
}

// Draws policies that were given several shares to keep.
void draw_curves(const Report& report, size_t metric, int length, const std::string& folder) {
  std::map<std::string, plot::Lines> charts;  // [kind]
  for (const ReportRow& row : report.rows) {
    if (row.length != length || !row.scores[metric] || !row.cell.evicts()) continue;
    if (row.kind.find('/') != std::string::npos) continue;
    const Budget keep = Budget::parse(row.cell.keep);
    if (keep.kind != Budget::Kind::fraction) continue;
    const std::string name = row.cell.erases() ? cat(row.cell.policy, "+", row.cell.method) : row.cell.policy;
    std::vector<plot::Lines::Series>& all = charts[row.kind].series;
    auto series = std::find_if(all.begin(), all.end(), [&](const auto& known) { return known.name == name; });
    if (series == all.end()) series = all.insert(series, {name, {}});
    const Interval& score = *row.scores[metric];
    series->points.push_back({100 * keep.amount, {score.mean, score.low, score.high}});
  }
  for (auto& [kind, chart] : charts) {
    std::erase_if(chart.series, [](const auto& series) { return series.points.size() < 2; });
    if (chart.series.empty()) continue;
    for (plot::Lines::Series& series : chart.series)
      std::sort(series.points.begin(), series.points.end(),
                [](const auto& a, const auto& b) { return a.x < b.x; });
    const std::string& name = report.task.metrics[metric].name;
    const std::string what = kind.empty() ? report.task.name : cat(report.task.name, ", ", kind);
    chart.title = title(report, what, length);
    chart.x = {.label = "kept, percent", .log = true};
    chart.y = {.label = name};
    const std::string of_kind = kind.empty() ? "" : cat("-", file_name(kind));
    plot::draw(script(chart), cat(folder, "/", file_name(name), "-", length, of_kind, "-by-keep"));
  }
}

void draw_heat_map(const Report& report, const Cell& cell, const std::string& folder) {
  plot::HeatMap chart;
  std::vector<const ReportRow*> rows;
  for (const ReportRow& row : report.rows) {
    if (row.cell != cell || !row.kind.starts_with(kDepths) || !row.scores[0]) continue;
    rows.push_back(&row);
    index_of(chart.columns, std::to_string(row.length));
    index_of(chart.rows, row.kind.substr(kDepths.size()));
  }
  if (rows.empty()) return;
  chart.values.assign(chart.rows.size() * chart.columns.size(), std::numeric_limits<double>::quiet_NaN());
  for (const ReportRow* row : rows) {
    const size_t column = index_of(chart.columns, std::to_string(row->length));
    const size_t line = index_of(chart.rows, row->kind.substr(kDepths.size()));
    chart.values[line * chart.columns.size() + column] = row->scores[0]->mean;
  }
  chart.title = cat(report.task.name, ": ", cell.text());
  chart.x_label = "tokens";
  chart.y_label = "depth";
  chart.value_label = report.task.metrics[0].name;
  plot::draw(script(chart), cat(folder, "/depths-", file_name(cell.text())));
}

}  // namespace

void draw_charts(const Report& report, const std::string& folder) {
  std::vector<int> lengths;
  std::vector<Cell> cells;
  for (const ReportRow& row : report.rows) {
    index_of(lengths, row.length);
    index_of(cells, row.cell);
  }
  for (const int length : lengths) {
    for (size_t m = 0; m < report.task.metrics.size(); m++) {
      draw_bars(report, m, length, folder);
      draw_curves(report, m, length, folder);
    }
  }
  for (const Cell& cell : cells) draw_heat_map(report, cell, folder);
}

}  // namespace kvedit::eval
