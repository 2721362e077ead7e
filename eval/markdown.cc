// A report as Markdown: the scores, and how far each cell is from the reference.
#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>

#include "eval/report.h"

namespace kvedit::eval {
namespace {

bool has_kinds(const Report& report) {
  for (const ReportRow& row : report.rows) {
    if (!row.kind.empty()) return true;
  }
  return false;
}

void write_header(std::ostream& text, const Report& report, bool last_column) {
  const bool kinds = has_kinds(report);
  text << "\n| tokens |" << (kinds ? " questions |" : "") << " cell | examples |";
  for (const Metric& metric : report.task.metrics) text << " " << metric.name << " |";
  text << (last_column ? " MiB |" : "") << "\n|---:|" << (kinds ? "---|" : "") << "---|---:|";
  for (size_t m = 0; m < report.task.metrics.size() + last_column; m++) text << "---:|";
  text << "\n";
}

bool is_few(const ReportRow& row) { return row.examples < static_cast<int>(kFewExamples); }

void write_begin(std::ostream& text, const Report& report, const ReportRow& row) {
  text << "| " << (report.task.sized ? std::to_string(row.length) : "own") << " | ";
  if (has_kinds(report)) text << row.kind << " | ";
  text << row.cell.text() << " | " << row.examples << (is_few(row) ? "\\*" : "") << " |";
}

void write_scores(std::ostream& text, const Report& report) {
  write_header(text, report, true);
  for (const ReportRow& row : report.rows) {
    write_begin(text, report, row);
    for (size_t m = 0; m < row.scores.size(); m++)
      text << " " << (row.scores[m] ? to_text(*row.scores[m], report.task.metrics[m].mean) : "-") << " |";
    char mebibytes[32];
    std::snprintf(mebibytes, sizeof mebibytes, " %.2f |", row.mebibytes);
    text << mebibytes << "\n";
  }
}

// Tabulates distances, which have tails.
void write_tails(std::ostream& text, const Report& report) {
  for (size_t m = 0; m < report.task.metrics.size(); m++) {
    if (report.task.metrics[m].mean != Mean::arithmetic) continue;
    const bool kinds = has_kinds(report);
    text << "\n"
         << report.task.metrics[m].name << ", over examples.\n\n| tokens |" << (kinds ? " questions |" : "")
         << " cell | examples | mean | median | 95 % below | worst |\n|---:|" << (kinds ? "---|" : "")
         << "---|---:|---:|---:|---:|---:|\n";
    for (const ReportRow& row : report.rows) {
      if (!row.tails[m]) continue;
      write_begin(text, report, row);
      char numbers[96];
      std::snprintf(numbers, sizeof numbers, " %.4f | %.4f | %.4f | %.4f |\n", row.scores[m]->mean,
                    row.tails[m]->median, row.tails[m]->most, row.tails[m]->worst);
      text << numbers;
    }
  }
}

bool compared(const ReportRow& row) {
  return std::any_of(row.difference.begin(), row.difference.end(),
                     [](const auto& d) { return d.has_value(); });
}

void write_differences(std::ostream& text, const Report& report) {
  if (std::none_of(report.rows.begin(), report.rows.end(), compared)) return;
  text << "\nDifference to ";
  for (const Cell& cell : report.references)
    text << (&cell == &report.references.front() ? "`" : ", where something is erased to `") << cell.text()
         << "`";
  text << ", paired by example (perplexity: quotient). Bold where p < 0.05 in a sign-flip test of at least "
       << kFewExamples
       << " pairs. In parentheses the quotient of the means; floor: the reference is no further off than "
          "`recompute`, by rounding alone, so that none is given.\n";
  write_header(text, report, false);
  for (const ReportRow& row : report.rows) {
    if (!compared(row)) continue;
    write_begin(text, report, row);
    for (size_t m = 0; m < row.difference.size(); m++) {
      if (!row.difference[m]) {
        text << " - |";
        continue;
      }
      const Mean mean = report.task.metrics[m].mean;
      const char* const bold = significant(*row.difference[m]) ? "**" : "";
      text << " " << bold << to_text(*row.difference[m], mean) << bold;
      if (row.floor[m]) text << " (floor)";
      if (row.quotient[m]) text << " (" << to_text(*row.quotient[m], Mean::geometric) << ")";
      text << " |";
    }
    text << "\n";
  }
}

// Tells which questions the model cannot answer with its exact cache.
void write_unable(std::ostream& text, const Report& report) {
  std::set<std::string> said;
  for (const ReportRow& row : report.rows) {
    if (row.able) continue;
    const std::string what = (report.task.sized ? std::to_string(row.length) + " tokens" : "this task") +
                             (row.kind.empty() ? "" : ", " + row.kind);
    if (!said.insert(what).second) continue;
    text << "\nThe model cannot do " << what << " with its exact cache (" << report.task.metrics[0].name
         << " below " << 100 * report.task.able
         << " %): its scores are left out of "
            "comparisons; distances to the exact cache are not.\n";
  }
}

}  // namespace

std::string to_markdown(const Report& report) {
  std::ostringstream text;
  text << "# " << report.task.name << ": " << report.task.description
       << "\n\nProtocol: " << report.task.protocol
       << ". In brackets: 95 % intervals of the mean over examples.";
  if (std::any_of(report.rows.begin(), report.rows.end(), is_few))
    text << " \\*: fewer than " << kFewExamples << " examples, too few for an interval to be relied on.";
  text << "\n\n";
  for (const auto& [name, value] : report.setting.items())
    text << "- " << name << ": " << (value.is_string() ? value.get<std::string>() : value.dump()) << "\n";
  for (const std::string& note : report.task.notes) text << "- " << note << "\n";
  write_scores(text, report);
  write_tails(text, report);
  write_unable(text, report);
  write_differences(text, report);
  return text.str();
}

}  // namespace kvedit::eval
