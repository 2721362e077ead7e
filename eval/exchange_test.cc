// Examples for another implementation, and its answers, on a tiny model.
#include "eval/exchange.h"

#include <fstream>

#include "eval/report.h"
#include "session_testing.h"
#include "tools/fingerprint.h"

namespace kvedit::eval {
namespace {

const Cell kTheirs = {"kvpress:snapkv", "25%"};

std::vector<Json> lines_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
  return lines;
}

class ExchangeTest : public testing::Test {
 protected:
  ExchangeTest() {
    TinySpec spec = spec_of("llama");
    spec.context = 1024;
    model_ = load(spec, exact_options());
    open("niah-noise");
    for (const std::string& path : {results_, examples_, answers_}) std::remove(path.c_str());
  }
  void open(const std::string& task) {
    task_ = open_task(task, {std::make_shared<const Haystack>(Haystack({prose(300, 1)}))});
  }
  std::vector<Json> examples() {
    write_examples(examples_, *model_, *task_, grid_, {{"seed", 1}});
    return lines_of(examples_);
  }
  Json header() {
    return {{"fingerprint", fingerprint_text(model_->info().fingerprint)}, {"made_by", "them"}};
  }
  /// An answer to each question of an example as the file has it.
  static Json answer(const Json& example, const Json& said) {
    Json answers = Json::array();
    for (const Json& question : example.at("questions")) {
      answers.push_back(said);
      answers.back()["prompt"] = question.at("prompt");
    }
    return {{"length", example.at("length")},
            {"example", example.at("example")},
            {"policy", kTheirs.policy},
            {"keep", kTheirs.keep},
            {"resolved", "SnapKVPress"},
            {"answers", answers},
            {"read_ms", 1000},
            {"edit_ms", 20},
            {"answer_ms", 300},
            {"bytes", 4 << 20},
            {"peak_bytes", 700 << 20}};
  }
  void write(const std::vector<Json>& lines) {
    std::ofstream file(answers_);
    for (const Json& line : lines) file << line << "\n";
  }
  Peer add(Results& results) { return add_peer(answers_, *model_, *task_, grid_, results); }
  Results results() {
    std::vector<std::string> metrics;
    for (const Metric& metric : task_->info().metrics) metrics.push_back(metric.name);
    return {results_, {{"seed", 1}}, metrics, true};
  }
  ErrorCode refused() {
    Results results = this->results();
    return code_of([&] { add(results); });
  }
  std::vector<Token> said(const std::string& text) { return model_->tokenize(text); }

  std::string results_ = temporary_path("results.jsonl");
  std::string examples_ = temporary_path("examples.jsonl");
  std::string answers_ = temporary_path("answers.jsonl");
  std::shared_ptr<Model> model_;
  std::unique_ptr<Task> task_;
  Grid grid_{{kFull}, {500}, 2, 1, {}};
};

TEST_F(ExchangeTest, ExamplesAreTheTokensThatOursReads) {
  const std::vector<Json> lines = examples();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].at("metrics"), Json({"found"}));
  EXPECT_EQ(lines[0].at("seed"), 1);
  EXPECT_FALSE(lines[0].at("end_tokens").empty());
  for (int i = 0; i < 2; i++) {
    const Example example = task_->make(*model_, {500, 1, i});
    const Json& line = lines.at(i + 1);
    const Json& question = line.at("questions").at(0);
    EXPECT_EQ(line.at("context"), Json(example.context));
    EXPECT_EQ(question.at("before"), Json(example.questions[0].before));
    EXPECT_EQ(question.at("after"), Json(example.questions[0].after));
    EXPECT_EQ(question.at("expected"), Json(example.questions[0].expected));
    EXPECT_EQ(question.at("prompt"), prompt_hash(example, example.questions[0]));
  }
}

TEST_F(ExchangeTest, AnswersStandInTheSameTables) {
  const std::vector<Json> lines = examples();
  const auto value = lines[1].at("questions")[0].at("expected")[0].get<std::string>();
  write({header(), answer(lines[1], {{"tokens", said(value + "\nmore")}}),
         answer(lines[2], {{"tokens", said("\n" + value)}})});
  Results results = this->results();
  run_grid(
      model_, *task_, grid_, [](int, int, const Cell&) { return false; },
      [&](const Result& result) { results.add(result); });
  const Peer peer = add(results);
  EXPECT_EQ(peer.made_by, "them");
  ASSERT_EQ(peer.cells, std::vector{kTheirs});
  EXPECT_EQ(results.get(500, 0, kTheirs).questions[0].answer, value);
  EXPECT_EQ(results.get(500, 1, kTheirs).questions[0].answer, "") << "the answer ends before its stop string";
  grid_.cells.push_back(kTheirs);
  const std::string table = to_markdown(make_report(task_->info(), {}, results, grid_, {kFull}));
  EXPECT_NE(table.find("| 500 | kvpress:snapkv@25% | 2\\* | 50.0 % [9.5, 90.5] | 4.00 |"), std::string::npos)
      << table;
  const std::string costs = costs_to_markdown(results, grid_, true);
  EXPECT_NE(costs.find("| 500 | kvpress:snapkv@25% | 1000 | 20.0 | 300 | 700 |\n"), std::string::npos)
      << costs;
  EXPECT_NE(costs.find("| 500 | full | "), std::string::npos) << costs;
}

TEST_F(ExchangeTest, ResultsOnDiskDoNotGrowByTheSameAnswers) {
  const std::vector<Json> lines = examples();
  write({header(), answer(lines[1], {{"tokens", said("no")}})});
  for (int i = 0; i < 2; i++) {
    Results results = this->results();
    add(results);
    EXPECT_EQ(lines_of(results_).size(), 2U);
  }
}

TEST_F(ExchangeTest, ForcedTextIsScoredByWhatTheyMeasured) {
  open("text:span=20");
  write({header(), answer(examples()[1], {{"kl", 0.25}, {"perplexity", 9}})});
  Results results = this->results();
  add(results);
  EXPECT_EQ(results.get(500, 0, kTheirs).questions[0].scores, (std::vector<double>{0.25, 9}));
}

TEST_F(ExchangeTest, AnswersToSomethingElseAreRefused) {
  const std::vector<Json> lines = examples();
  const Json good = answer(lines[1], {{"tokens", said("no")}});
  Json other = header();
  other["fingerprint"] = "0000000000000000";
  write({other});
  EXPECT_EQ(refused(), ErrorCode::invalid_argument);
  other = good;
  other["answers"][0]["prompt"] = "0000000000000000";
  write({header(), other});
  EXPECT_EQ(refused(), ErrorCode::invalid_argument);
  other = good;
  other["answers"].clear();
  write({header(), other});
  EXPECT_EQ(refused(), ErrorCode::invalid_argument);
  other = good;
  other.erase("peak_bytes");
  write({header(), other});
  EXPECT_EQ(refused(), ErrorCode::corrupt);
  answers_ += ".missing";
  EXPECT_EQ(refused(), ErrorCode::not_found);
}

TEST_F(ExchangeTest, WhatIsComparedWithTheExactCacheCannotBeTheirs) {
  open("erase-niah");
  write({header(), answer(examples()[1], {{"tokens", said("no")}})});
  EXPECT_EQ(refused(), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace kvedit::eval
