// The report: every kind of work over several lengths, kept row by row in a folder, as data, as a Markdown
// page and as charts. A row that fails is shown in its place.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/comparison.h"
#include "eval/plot.h"

namespace kvedit::bench {

struct ReportWork {
  std::vector<int> lengths;
  int tokens = 64;  // number to decode
  std::vector<std::string> policies;
  std::string keep;
  std::vector<std::string> methods;
};

/// Rows that are measured together.
struct Job {
  std::string name;  // "erase/8000"
  std::function<std::vector<Row>(Comparison&)> run;
};

/// Lists the jobs in an order that reuses what was read.
std::vector<Job> report_jobs(const ReportWork& work);
/// Returns the tokens of the longest context.
int report_capacity(const ReportWork& work);

/// The rows of a folder's report.jsonl: a JSON object a line as to_json(Row) makes it, with "job", or with
/// "error" instead of measurements.
class ReportRows {
 public:
  /// Throws Error(invalid_argument) when there are rows and `resume` is false, or when they are of another
  /// model or machine, naming the difference; Error(corrupt) with file and line; Error(io).
  ReportRows(const std::string& folder, const Setting& setting, bool resume);

  /// Tells whether the job's rows are there, without an error.
  bool done(const std::string& job) const;
  /// Replaces the job's rows, in the file too.
  void put(const std::string& job, std::vector<Json> rows);
  const std::vector<Json>& rows() const { return rows_; }
  size_t failures() const;

 private:
  void write() const;

  std::string path_;
  std::vector<Json> rows_;
};

/// Runs the jobs that are not done, in order, and keeps their rows, each of which `emit` gets. A job's Error
/// becomes its row and the next job runs, but Error(cancelled) is thrown.
void run_jobs(Comparison& comparison, const std::vector<Job>& jobs, const Setting& setting,
              ReportRows& report, const std::function<void(const Row&)>& emit,
              const std::function<void(const std::string& job, const Error&)>& failed);

struct Chart {
  std::string name;     // of the file, without suffix
  std::string section;  // kind of the rows that it stands with
  plot::Lines lines;
};
std::vector<Chart> report_charts(const std::vector<Json>& rows);
/// Writes the page. command: what makes the report again. Charts are named only if they were drawn.
std::string report_markdown(const std::vector<Json>& rows, const std::string& command,
                            const std::vector<Chart>& drawn);

}  // namespace kvedit::bench
