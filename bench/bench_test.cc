#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "bench/prose.h"
#include "bench/report.h"
#include "tiny_model.h"

namespace kvedit::bench {
namespace {

TEST(MeasureTest, SummaryIsMinimumMedianAndMaximum) {
  const Summary odd = summarize({3, 1, 2});
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.max, 3);
  EXPECT_EQ(summarize({4, 1, 2, 3}).median, 2.5);
  EXPECT_THROW(summarize({}), Error);
}

TEST(MeasureTest, RatioAboveOneMeansOursIsBetter) {
  EXPECT_EQ(ratios({20, 30}, {10, 10}, true), (std::vector<double>{2, 3}));    // tok/s
  EXPECT_EQ(ratios({20, 5}, {10, 10}, false), (std::vector<double>{0.5, 2}));  // ms
  EXPECT_TRUE(ratios({20}, {}, true).empty());
}

TEST(RowTest, MissingPeerIsNull) {
  const Row row{
      .kind = "fork", .length = 8000, .unit = "ms", .ours = {2, 1, 3}, .words = "fork --length 8000"};
  Setting setting;
  setting.words = "--threads 2";
  const Json json = to_json(row, setting);
  EXPECT_EQ(json["ours"]["median"], 2);
  EXPECT_TRUE(json["peer"].is_null());
  EXPECT_TRUE(json["ratio"].is_null());
  EXPECT_EQ(json["command"], "kvedit bench fork --length 8000 --threads 2");
}

TEST(ProseTest, IsTheSameEveryTime) {
  EXPECT_EQ(prose(50), prose(50));
  EXPECT_NE(prose(50, 1), prose(50, 2));
  EXPECT_TRUE(prose(100).starts_with(prose(50)));
}

TEST(EraseTest, DepthIsAShareOrAToken) {
  EXPECT_EQ(erase_span({8000, 64, "10%"}), (Span{800, 864}));
  EXPECT_EQ(erase_span({8000, 64, "7"}), (Span{7, 71}));
  EXPECT_THROW(erase_span({8000, 64, "deep"}), Error);
  EXPECT_THROW(erase_span({8000, 64, "-1"}), Error);
  EXPECT_THROW(erase_span({8000, 64, "1e12"}), Error);
  EXPECT_THROW(erase_span({8000, 64, "nan"}), Error);
  EXPECT_THROW(erase_span({100, 99, "1"}), Error);  // would erase the last token, which is pending
}

// A tiny model, llama.cpp beside it, and a folder to report into.
class ReportTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // The names of the rows that were measured.
  std::vector<std::string> run(ReportRows& report, const std::vector<Job>& jobs) {
    Contest contest(model_, {1, true, report_capacity(words_), {}}, MemoryMeter("", {}));
    std::vector<std::string> names;
    run_jobs(
        contest, jobs, setting_, report, [&](const Row& row) { names.push_back(row.name()); },
        [&](const std::string& job, const Error&) { failed_.push_back(job); });
    return names;
  }

  ReportWords words_ = {{48}, 2, {"streaming-llm:sinks=2,recent=4"}, "50%", {"drop", "recompute"}};
  std::shared_ptr<Model> model_ =
      Model::load(write_tiny_model({}, temporary_path("bench.gguf")), ModelOptions{.threads = 1});
  Setting setting_ = make_setting(model_->info(), {}, 1, true);
  std::string folder_ = temporary_path("report");
  std::vector<std::string> failed_;
};

TEST_F(ReportTest, EveryWorkIsMeasuredBesideThePeerAndAFailureIsARowOfItsOwn) {
  std::vector<Job> jobs = report_jobs(words_);
  jobs.insert(jobs.begin(), {"broken", [](Contest&) -> std::vector<Row> {
                               throw Error(ErrorCode::no_memory, "test", "no room");
                             }});
  ReportRows report(folder_, setting_, false);
  const std::vector<std::string> names = run(report, jobs);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()),
            (std::set<std::string>{"decode/0", "prefill/48", "decode/48", "fork/48", "save/48", "load/48",
                                   "erase/48/6@10%/drop", "erase/48/6@10%/recompute",
                                   "evict/48/streaming-llm:sinks=2,recent=4@50%"}));
  EXPECT_EQ(failed_, std::vector<std::string>{"broken"});
  EXPECT_EQ(report.failures(), 1U);
  for (const Json& row : report.rows()) {
    if (row.contains("error") || row["kind"] == "fork") continue;
    EXPECT_GT(row["ratio"]["median"].get<double>(), 0) << row;
  }
  const auto charts = report_charts(report.rows());
  EXPECT_EQ(charts.size(), 3U) << "prefill, decode, erase; no memory was measured";
  for (const Chart& chart : charts) EXPECT_NO_THROW(plot::script(chart.lines)) << chart.name;
  const std::string page = report_markdown(report.rows(), "kvedit bench report", charts);
  EXPECT_NE(page.find("](erase.svg)"), std::string::npos) << page;
  EXPECT_NE(page.find("- broken: [test] no room"), std::string::npos) << page;

  ReportRows resumed(folder_, setting_, true);
  EXPECT_EQ(resumed.rows(), report.rows());
  jobs[0].run = [](Contest&) { return std::vector<Row>{{.kind = "mended", .unit = "ms", .ours = {1}}}; };
  EXPECT_EQ(run(resumed, jobs), std::vector<std::string>{"mended/0"});
  EXPECT_EQ(resumed.failures(), 0U);
}

TEST_F(ReportTest, RowsThatAreThereAreOnlyResumedOnTheSameMachine) {
  ReportRows(folder_, setting_, false).put("fork", {to_json(Row{.kind = "fork", .ours = {1}}, setting_)});
  EXPECT_THROW(ReportRows(folder_, setting_, false), Error);
  Setting other = setting_;
  other.machine.cpu = "abacus";
  EXPECT_THROW(ReportRows(folder_, other, true), Error);
  std::ofstream(folder_ + "/report.jsonl", std::ios::app) << "{\"job\": 1}\n";
  try {
    ReportRows(folder_, setting_, true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    EXPECT_NE(std::string(error.what()).find("report.jsonl:2"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace kvedit::bench
