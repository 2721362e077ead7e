#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "bench/prose.h"
#include "bench/report.h"
#include "peer.h"
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
      .kind = "fork", .length = 8000, .unit = "ms", .ours = {2, 1, 3}, .command = "fork --length 8000"};
  Setting setting;
  setting.flags = "--threads 2";
  const Json json = to_json(row, setting);
  EXPECT_EQ(json["ours"]["median"], 2);
  EXPECT_TRUE(json["peer"].is_null());
  EXPECT_TRUE(json["ratio"].is_null());
  EXPECT_EQ(json["command"], "kvedit bench fork --length 8000 --threads 2");
}

TEST(RowTest, ThePeerIsShownAtTheSettingThatIsBetter) {
  Row row{.kind = "decode", .length = 8, .unit = "tok/s", .ours = {20}};
  row.peers = {{"flash off", {12}}, {"flash on", {10}}};
  row.peak_memory_bytes = {1, {{"flash off", 9}, {"flash on", 7}}};
  row.peer_action = "its full cache";
  EXPECT_EQ(row.peer_setting(), "flash off");
  const Json json = to_json(row, {});
  EXPECT_EQ(json["peer"]["median"], 12);
  EXPECT_EQ(json["peer_setting"], "flash off");
  EXPECT_EQ(json["peer_settings"]["flash on"]["median"], 10);
  EXPECT_EQ(json["peak_memory_bytes"]["peer"], 7);
  EXPECT_EQ(json["peak_memory_bytes"]["peer_setting"], "flash on");
  EXPECT_NEAR(json["ratio"]["median"].get<double>(), 20.0 / 12, 1e-5);
  for (const char* told : {"flash off", "beside: its full cache"})
    EXPECT_NE(table_line(row).find(told), std::string::npos) << table_line(row);

  row.unit = "ms";
  EXPECT_EQ(row.peer_setting(), "flash on");
}

TEST(RowTest, WhoUsesAmxIsToldWhereTheCpuHasIt) {
  Setting setting;
  setting.amx = true;
  setting.peer_build = "AVX2 AVX512";
  EXPECT_EQ(amx_text(setting), "");
  setting.machine.features = {"avx2", "amx_tile"};
  EXPECT_EQ(amx_text(setting), "AMX: kvedit uses it, llama.cpp is built without");
  EXPECT_NE(table_header(setting).find("AMX"), std::string::npos);
  const std::string page = report_markdown({to_json(Row{.kind = "fork"}, setting)}, "", {});
  EXPECT_NE(page.find("- AMX: kvedit uses it, llama.cpp is built without"), std::string::npos) << page;
  setting.amx = false;
  setting.peer_build += " AMX_INT8";
  EXPECT_EQ(amx_text(setting), "AMX: kvedit does not use it, llama.cpp is built with it");
}

TEST(UpgradeTest, OnlyTokensMadeWhileItRanAreCounted) {
  int made = 0;
  const auto token = [&] { return static_cast<double>(++made); };
  // Over while the third token is generated, which therefore was not slowed all the time.
  EXPECT_EQ(while_running(64, token, [&] { return made < 3; }), (std::vector<double>{1, 2}));
  EXPECT_EQ(made, 3);
  EXPECT_TRUE(while_running(64, token, [] { return false; }).empty());
  EXPECT_EQ(while_running(2, token, [] { return true; }).size(), 2U);
}

struct ErasedWith {
  const char* architecture;
  const char* method;
  bool flash;
};
std::ostream& operator<<(std::ostream& out, const ErasedWith& with) {
  return out << with.architecture << " " << with.method << (with.flash ? " flash" : "");
}

// What the peer is timed at is what ours does: the same logits of the next token. f32 weights on both sides,
// F16 caches: the largest difference seen was 4e-4 of the largest logit, 6e-4 without the same rounding.
class PeerEraseTest : public testing::TestWithParam<ErasedWith> {
 protected:
  static constexpr int kLength = 96;
  static constexpr Span kSpan{20, 52};

  PeerErased erase(LlamaPeer& peer) const {
    const std::string method = GetParam().method;
    return method == "recompute" ? peer.read_again(kSpan, kLength)
                                 : peer.remove(kSpan, kLength, method == "shift");
  }
};

TEST_P(PeerEraseTest, GivesTheLogitsThatOursGives) {
  const auto& [architecture, method, flash] = GetParam();
  TinySpec spec;
  spec.architecture = architecture;
  const auto model = Model::load(write_tiny_model(spec, temporary_path("erased.gguf")),
                                 ModelOptions{.threads = 1, .linear = LinearKernel::f32});
  const std::vector<Token> text = filler_tokens(256, kLength);
  Session session(model);
  session.append_tokens(text);
  const std::vector<float> whole = session.logits();
  session.erase(kSpan, {.method = method});
  const std::vector<float> ours = session.logits();

  const PeerSetting setting{.flash_attention = flash, .threads = 1};
  LlamaPeer peer(LlamaPeer::load(model->info().path), text, setting, kLength, {});
  ASSERT_TRUE(peer.can_shift());  // short enough that its window cache is as large as the other
  peer.hold(kLength - 1);
  const PeerState held = peer.copy();
  std::vector<float> first;
  for (int i = 0; i < 2; i++) {  // the copy is as good as what was read
    const PeerErased made = erase(peer);
    EXPECT_GE(made.ms, made.call_ms);
    const auto vocabulary = static_cast<int>(ours.size());
    const Divergence same = divergence(ours, peer.logits(), vocabulary);
    EXPECT_LT(same.relative, 4e-3) << same;
    const Divergence unerased = divergence(whole, peer.logits(), vocabulary);
    EXPECT_GT(unerased.relative, 10 * same.relative) << unerased;
    if (i == 0) first = peer.logits();
    EXPECT_LT(divergence(first, peer.logits(), vocabulary).relative, 4e-3);
    peer.restore(held);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Methods, PeerEraseTest,
    testing::Values(ErasedWith{"llama", "drop", false}, ErasedWith{"llama", "drop", true},
                    ErasedWith{"llama", "shift", false}, ErasedWith{"llama", "shift", true},
                    ErasedWith{"llama", "recompute", false}, ErasedWith{"llama", "recompute", true},
                    ErasedWith{"gemma3", "drop", true}, ErasedWith{"gemma3", "recompute", true},
                    ErasedWith{"gemma3", "shift", true}));

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
    Comparison comparison(model_, {1, true, report_capacity(work_), {}}, MemoryMeter("", {}));
    std::vector<std::string> names;
    run_jobs(
        comparison, jobs, setting_, report, [&](const Row& row) { names.push_back(row.name()); },
        [&](const std::string& job, const Error&) { failed_.push_back(job); });
    return names;
  }

  ReportWork work_ = {
      {48}, 2, {"streaming-llm:sinks=2,recent=4"}, "50%", {"drop", "shift", "mend", "recompute"}};
  std::shared_ptr<Model> model_ =
      Model::load(write_tiny_model({}, temporary_path("bench.gguf")), ModelOptions{.threads = 1});
  Setting setting_ = make_setting(model_->info(), {}, 1, true);
  std::string folder_ = temporary_path("report");
  std::vector<std::string> failed_;
};

TEST_F(ReportTest, EveryWorkIsMeasuredBesideThePeerAndAFailureIsARowOfItsOwn) {
  std::vector<Job> jobs = report_jobs(work_);
  jobs.insert(jobs.begin(), {"broken", [](Comparison&) -> std::vector<Row> {
                               throw Error(ErrorCode::no_memory, "test", "no room");
                             }});
  ReportRows report(folder_, setting_, false);
  const std::vector<std::string> names = run(report, jobs);
  EXPECT_EQ(
      std::set<std::string>(names.begin(), names.end()),
      (std::set<std::string>{"decode/0", "prefill/48", "decode/48", "fork/48", "save/48", "load/48",
                             "erase/48/6@10%/drop", "erase/48/6@10%/shift", "erase/48/6@10%/mend",
                             "erase/48/6@10%/recompute", "evict/48/streaming-llm:sinks=2,recent=4@50%"}));
  EXPECT_EQ(failed_, std::vector<std::string>{"broken"});
  EXPECT_EQ(report.failures(), 1U);
  for (const Json& row : report.rows()) {
    if (row.contains("error")) continue;
    EXPECT_GT(row["ratio"]["median"].get<double>(), 0) << row;
    EXPECT_EQ(row["peer_settings"].size(), 2U) << row;
  }
  const auto beside = [&](const std::string& name) {
    for (const Json& row : report.rows()) {
      if (row.value("name", "") == name) return row.value("beside", "");
    }
    return std::string("no such row");
  };
  EXPECT_EQ(beside("decode/48"), "");
  EXPECT_EQ(beside("erase/48/6@10%/recompute"), "");
  EXPECT_TRUE(beside("erase/48/6@10%/drop").starts_with("llama_memory_seq_rm"))
      << beside("erase/48/6@10%/drop");
  EXPECT_TRUE(beside("erase/48/6@10%/shift").starts_with("llama_memory_seq_rm and _seq_add"));
  EXPECT_TRUE(beside("erase/48/6@10%/mend").starts_with("reads again"));
  EXPECT_EQ(beside("evict/48/streaming-llm:sinks=2,recent=4@50%"), "its full cache");
  EXPECT_TRUE(beside("fork/48").starts_with("llama_memory_seq_cp"));
  const auto charts = report_charts(report.rows());
  EXPECT_EQ(charts.size(), 3U) << "prefill, decode, erase; no memory was measured";
  std::vector<std::string> series;
  for (const auto& each : charts[0].lines.series) series.push_back(each.name);
  EXPECT_EQ(series, (std::vector<std::string>{"kvedit", "llama.cpp, flash off", "llama.cpp, flash on"}));
  for (const Chart& chart : charts) EXPECT_NO_THROW(plot::script(chart.lines)) << chart.name;
  const std::string page = report_markdown(report.rows(), "kvedit bench report", charts);
  EXPECT_NE(page.find("reads again: it has no such method"), std::string::npos) << page;
  EXPECT_NE(page.find("](erase.svg)"), std::string::npos) << page;
  EXPECT_NE(page.find("- broken: [test] no room"), std::string::npos) << page;

  ReportRows resumed(folder_, setting_, true);
  EXPECT_EQ(resumed.rows(), report.rows());
  jobs[0].run = [](Comparison&) { return std::vector<Row>{{.kind = "mended", .unit = "ms", .ours = {1}}}; };
  EXPECT_EQ(run(resumed, jobs), std::vector<std::string>{"mended/0"});
  EXPECT_EQ(resumed.failures(), 0U);
}

TEST_F(ReportTest, ThePeersSettingsAreMeasuredBesideEachOther) {
  Comparison comparison(model_, {1, true, 34, {}}, MemoryMeter("", {}));
  const std::vector<Row> rows = peer_rows(comparison, 32, 2);
  ASSERT_EQ(rows.size(), 2U);
  for (const Row& row : rows) {
    EXPECT_EQ(row.peers.size(), 6U) << row.name();  // of one thread: polling and flash attention
    EXPECT_TRUE(row.peers.contains("flash off, 1 thread, poll 50")) << row.note;
  }
  Comparison alone(model_, {1, false, 34, {}}, MemoryMeter("", {}));
  EXPECT_THROW(peer_rows(alone, 32, 2), Error);
}

TEST_F(ReportTest, SessionsInABatchAreMeasured) {
  Comparison comparison(model_, {1, true, 250, {}}, MemoryMeter("", {}));
  const Row together = batch_row(comparison, 32, 3, 4);
  EXPECT_EQ(together.name(), "batch/32/3");
  EXPECT_EQ(together.peers.size(), 2U);
  EXPECT_GT(summarize(ratios(together.ours, together.peer(), true)).median, 0);
  EXPECT_GT(together.details["one_after_the_other"]["median"].get<double>(), 0);
  const Row beside = beside_row(comparison, 200, 16);
  EXPECT_EQ(beside.details["most_blocks"], 1) << beside.note;
  EXPECT_EQ(beside.details["tokens_meanwhile"], 11);  // 163 tokens to read again, 15 in each block beside one
}

TEST_F(ReportTest, RowsThatAreThereAreOnlyResumedOnTheSameMachine) {
  ReportRows(folder_, setting_, false).put("fork", {to_json(Row{.kind = "fork", .ours = {1}}, setting_)});
  EXPECT_THROW(ReportRows(folder_, setting_, false), Error);
  Setting other = setting_;
  other.machine.cpu = "abacus";
  EXPECT_THROW(ReportRows(folder_, other, true), Error);
  Setting rebuilt = setting_;
  rebuilt.peer_build = "abacus";
  EXPECT_THROW(ReportRows(folder_, rebuilt, true), Error);
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
