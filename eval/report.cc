#include "eval/report.h"

#include <cstdio>
#include <sstream>

namespace kvedit::eval {

std::vector<ReportRow> report_rows(const Results& results, const Grid& grid,
                                   const std::vector<Metric>& metrics) {
  std::vector<ReportRow> rows;
  for (const int length : grid.lengths) {
    for (const Cell& cell : grid.cells) {
      ReportRow row{length, cell, grid.examples};
      std::vector<std::vector<double>> scores(metrics.size());
      for (int i = 0; i < grid.examples; i++) {
        const Result& result = results.get(length, i, cell);
        for (size_t m = 0; m < metrics.size(); m++) scores[m].push_back(result.scores[m]);
        row.mebibytes += static_cast<double>(result.bytes) / 0x1p20 / grid.examples;
      }
      for (size_t m = 0; m < metrics.size(); m++)
        row.scores.push_back(interval(std::move(scores[m]), metrics[m].mean));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::string to_markdown(const TaskInfo& task, const Json& setting, const std::vector<ReportRow>& rows) {
  std::ostringstream text;
  text << "# " << task.name << ": " << task.description << "\n\nProtocol: " << task.protocol
       << ". In brackets: 95 % intervals, bootstrap over examples.\n\n";
  for (const auto& [name, value] : setting.items())
    text << "- " << name << ": " << (value.is_string() ? value.get<std::string>() : value.dump()) << "\n";
  text << "\n| tokens | policy | keep | examples |";
  for (const Metric& metric : task.metrics) text << " " << metric.name << " |";
  text << " MiB |\n|---:|---|---:|---:|";
  for (size_t m = 0; m <= task.metrics.size(); m++) text << "---:|";
  for (const ReportRow& row : rows) {
    text << "\n| " << row.length << " | " << row.cell.policy << " | " << row.cell.keep << " | "
         << row.examples << " |";
    for (size_t m = 0; m < row.scores.size(); m++)
      text << " " << to_text(row.scores[m], task.metrics[m].mean) << " |";
    char mebibytes[32];
    std::snprintf(mebibytes, sizeof mebibytes, " %.2f |", row.mebibytes);
    text << mebibytes;
  }
  text << "\n";
  return text.str();
}

Json to_json(const TaskInfo& task, const Json& setting, const std::vector<ReportRow>& rows) {
  Json list = Json::array();
  for (const ReportRow& row : rows) {
    Json scores = Json::object();
    for (size_t m = 0; m < row.scores.size(); m++) {
      const Interval& s = row.scores[m];
      scores[task.metrics[m].name] = {{"mean", s.mean}, {"low", s.low}, {"high", s.high}};
    }
    list.push_back({{"length", row.length},
                    {"policy", row.cell.policy},
                    {"keep", row.cell.keep},
                    {"examples", row.examples},
                    {"scores", scores},
                    {"mebibytes", row.mebibytes}});
  }
  return {{"task", task.name}, {"protocol", task.protocol}, {"setting", setting}, {"rows", list}};
}

}  // namespace kvedit::eval
