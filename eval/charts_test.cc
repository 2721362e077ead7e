#include "eval/charts.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "contents.h"
#include "session_testing.h"

namespace kvedit::eval {
namespace {

namespace fs = std::filesystem;

ReportRow row(const std::string& kind, const Cell& cell, double score) {
  ReportRow row;
  row.length = 1024;
  row.kind = kind;
  row.cell = cell;
  row.scores = {Interval{score, score / 2, 2 * score}};
  return row;
}

Report report(std::vector<ReportRow> rows) {
  Report report;
  report.task.name = "tales";
  report.task.metrics = {{"loss", Mean::arithmetic}};
  report.rows = std::move(rows);
  return report;
}

TEST(ChartsTest, PoliciesWithSeveralSharesGetALine) {
  const fs::path folder = temporary_path("curves");
  fs::create_directories(folder);
  draw_charts(
      report({row("", kFull, 0.1), row("", {.policy = "swift", .keep = "50%"}, 0.2),
              row("", {.policy = "swift", .keep = "5%"}, 0.4), row("", {.policy = "once", .keep = "5%"}, 0.3),
              row("", {.policy = "by-count", .keep = "64"}, 0.3),
              row("", {.policy = "by-count", .keep = "128"}, 0.3)}),
      folder);
  EXPECT_TRUE(fs::exists(folder / "loss-1024.svg"));
  EXPECT_TRUE(fs::exists(folder / "loss-1024-by-keep.png"));
  const std::string curves = contents(folder / "loss-1024-by-keep.svg");
  EXPECT_NE(curves.find("swift"), std::string::npos);
  EXPECT_EQ(curves.find("once"), std::string::npos);
  EXPECT_EQ(curves.find("by-count"), std::string::npos);
}

TEST(ChartsTest, KindsHaveTheirOwnAndNoLineNeedsNoChart) {
  const fs::path folder = temporary_path("kinds");
  fs::create_directories(folder);
  const Cell half{.policy = "swift", .keep = "50%", .method = "drop"},
      little{.policy = "swift", .keep = "5%", .method = "drop"};
  draw_charts(report({row("fresh", half, 0.2), row("fresh", little, 0.3), row("stale/unique", half, 0.2),
                      row("stale/unique", little, 0.3), row("stale", half, 0.2)}),
              folder);
  EXPECT_NE(contents(folder / "loss-1024-fresh-by-keep.svg").find("swift+drop"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "loss-1024-stale-by-keep.svg"));
  EXPECT_FALSE(fs::exists(folder / "loss-1024-stale-unique-by-keep.svg"));
}

}  // namespace
}  // namespace kvedit::eval
