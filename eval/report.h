// What an evaluation says: a line for each length and cell, as a Markdown table and as JSON.
#pragma once

#include <string>
#include <vector>

#include "eval/interval.h"
#include "eval/results.h"

namespace kvedit::eval {

struct ReportRow {
  int length = 0;
  Cell cell;
  int examples = 0;
  std::vector<Interval> scores;  // [metrics]
  double mebibytes = 0;          // of the cache, mean
};

/// Nothing in them depends on the clock: a run that was interrupted ends with the same ones. Throws
/// Error(not_found) for a result that is missing.
std::vector<ReportRow> report_rows(const Results& results, const Grid& grid,
                                   const std::vector<Metric>& metrics);

/// setting: what the results depend on, as in their file.
std::string to_markdown(const TaskInfo& task, const Json& setting, const std::vector<ReportRow>& rows);
Json to_json(const TaskInfo& task, const Json& setting, const std::vector<ReportRow>& rows);

}  // namespace kvedit::eval
