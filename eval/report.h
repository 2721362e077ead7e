// The report of an evaluation, a line for each length, kind of question and cell, as Markdown and as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/interval.h"
#include "eval/results.h"

namespace kvedit::eval {

struct ReportRow {
  int length = 0;
  std::string kind;
  Cell cell;
  int examples = 0;  // number of examples that have such a question
  bool able = true;  // false where the exact cache misses what the task asks for: no shares are compared
  std::vector<std::optional<Interval>> scores;        // [metrics]
  std::vector<std::optional<Tail>> tails;             // of arithmetic means
  std::vector<std::optional<Difference>> difference;  // to its reference, paired by example
  std::vector<std::optional<Interval>> quotient;      // of arithmetic means
  std::vector<bool> floor;  // [metrics] the reference is no further off than `recompute`: no quotient
  double mebibytes = 0;     // of the cache, mean
};

struct Report {
  TaskInfo task;
  Json setting;                  // what the results depend on, as in their file
  std::vector<Cell> references;  // what cells are compared with: those that erase, and those that do not
  std::vector<ReportRow> rows;
};

/// Tabulates the results. Kinds come in the order of the task, each after the groups that its '/' name. An
/// example's value is the mean over its questions of that kind, so that the bootstrap draws examples.
/// Nothing depends on the clock, so an interrupted run ends with an equal report. Throws Error(not_found)
/// for a missing result.
Report make_report(const TaskInfo& task, const Json& setting, const Results& results, const Grid& grid,
                   const std::vector<Cell>& references);

std::string to_markdown(const Report& report);
Json to_json(const Report& report);

}  // namespace kvedit::eval
