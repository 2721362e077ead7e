// The grid, its file of results and the report, on tiny models.
#include "eval/grid.h"

#include <cmath>
#include <fstream>

#include "contents.h"
#include "eval/report.h"
#include "session_testing.h"

namespace kvedit::eval {
namespace {

const Json kSetting = {{"task", "text"}, {"seed", 1}};
const Cell kHalf = {"keydiff", "50%"};

TaskOptions options_with(const Haystack& haystack) { return {std::make_shared<const Haystack>(haystack)}; }

class GridTest : public testing::Test {
 protected:
  GridTest() { std::remove(path_.c_str()); }

  Results open(bool resume) const {
    std::vector<std::string> metrics;
    for (const Metric& metric : text_->info().metrics) metrics.push_back(metric.name);
    return {path_, kSetting, metrics, resume};
  }
  void run(Results& results, const Progress& progress = {}) const {
    run_grid(
        model_, *text_, grid_,
        [&](int length, int example, const Cell& cell) { return results.have(length, example, cell); },
        [&](const Result& result) { results.add(result); }, progress);
  }
  std::string table(const Results& results) const {
    return to_markdown(make_report(text_->info(), kSetting, results, grid_, {kFull, {.method = "drop"}}));
  }
  double score(const Results& results, int length, int example, const Cell& cell, size_t metric = 0) const {
    return results.get(length, example, cell).questions.at(0).scores.at(metric);
  }

  std::string path_ = temporary_path("results.jsonl");
  std::shared_ptr<Model> model_ = load(spec_of("llama"), exact_options());
  Haystack haystack_{{prose(300, 1), prose(300, 2)}};
  std::unique_ptr<Task> text_ = open_task("text:span=20", options_with(haystack_));
  Grid grid_{{kFull, {"snapkv", "100%"}, {"snapkv", "50%"}, kHalf}, {150, 200}, 3, 1, {}};
};

TEST_F(GridTest, KeepingAllIsTheFullCache) {
  Results results = open(false);
  run(results);
  EXPECT_EQ(results.size(), 24U);
  for (const int length : grid_.lengths) {
    for (int i = 0; i < grid_.examples; i++) {
      const Result& full = results.get(length, i, kFull);
      const Result& all = results.get(length, i, {"snapkv", "100%"});
      EXPECT_EQ(full.questions[0].scores[0], 0);
      EXPECT_EQ(all.questions[0].scores, full.questions[0].scores);
      EXPECT_EQ(all.bytes, full.bytes);
      const Result& half = results.get(length, i, {"snapkv", "50%"});
      EXPECT_GT(half.questions[0].scores[0], 1e-6);
      EXPECT_LT(half.bytes, full.bytes);
      EXPECT_EQ(half.questions[0].prompt, full.questions[0].prompt);
    }
  }
}

// KL and perplexity as their definitions say, token by token.
TEST_F(GridTest, ScoresAgreeWithASlowReference) {
  Results results = open(false);
  run(results);
  const Example example = text_->make(*model_, {150, 1, 2});
  const std::vector<Token>& continuation = example.questions[0].continuation;
  Session full(model_);
  full.append_tokens(example.context);
  Session half = full.fork();
  half.evict("keydiff", Budget::fraction(0.5));
  double kl = 0, likelihood = 0;
  for (const Token& token : continuation) {
    const std::vector<float> p = full.logits(), q = half.logits();
    kl += divergence(p, q, model_->info().vocabulary).mean / 64;
    double sum = 0;
    for (const float x : q) sum += std::exp(static_cast<double>(x));
    likelihood += (q[token] - std::log(sum)) / 64;
    full.append_tokens({&token, 1});
    half.append_tokens({&token, 1});
  }
  // The grid's log-probabilities are floats.
  EXPECT_NEAR(score(results, 150, 2, kHalf), kl, 1e-4 * kl + 1e-7);
  EXPECT_NEAR(score(results, 150, 2, kHalf, 1), std::exp(-likelihood), 1e-4 * std::exp(-likelihood));
}

TEST_F(GridTest, AnInterruptedRunEndsWithTheSameTable) {
  std::string whole;
  {
    Results results = open(false);
    run(results);
    whole = table(results);
  }
  std::remove(path_.c_str());
  for (const size_t until : {5, 14}) {
    Results results = open(until > 5);
    EXPECT_EQ(code_of([&] { run(results, [&](size_t done, size_t) { return done < until; }); }),
              ErrorCode::cancelled);
    EXPECT_EQ(results.size(), until);
  }
  const std::string written = contents(path_);
  write_file(path_, written.substr(0, written.size() - 30));  // killed while it wrote a line
  Results results = open(true);
  EXPECT_EQ(results.size(), 13U);
  run(results);
  EXPECT_EQ(table(results), whole);
  EXPECT_EQ(table(open(true)), whole) << "from the file";
}

TEST_F(GridTest, AFileCutInItsFirstLineBeginsAnew) {
  write_file(path_, R"({"task":)");
  EXPECT_EQ(open(true).size(), 0U);
  EXPECT_EQ(contents(path_), kSetting.dump() + "\n");
}

TEST_F(GridTest, EarlierResultsAreNotMixedUnasked) {
  { open(false).add({100, 0, kFull, {{"", "", "", "", {0, 1}}}}); }
  EXPECT_EQ(code_of([&] { open(false); }), ErrorCode::invalid_argument);
  std::string text = contents(path_);
  write_file(path_, text.replace(text.find("\"seed\":1"), 8, "\"seed\":2"));
  try {
    open(true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), "[eval] " + path_ + " has results of seed 2, not 1");
  }
}

TEST_F(GridTest, AMalformedLineIsNamed) {
  for (const char* line : {"not JSON", "{}", "[1]", R"({"length":"long"})", ""}) {
    write_file(path_, kSetting.dump() + "\n" + line + "\n");
    try {
      open(true);
      FAIL() << line;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt);
      EXPECT_NE(std::string(error.what()).find(path_ + ":2: "), std::string::npos) << error.what();
    }
  }
}

TEST_F(GridTest, AFailingCellIsNamed) {
  grid_.cells = {kFull, {"snapkv", "1%"}};  // less than what is always kept
  Results results = open(false);
  try {
    run(results);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_range);
    EXPECT_NE(std::string(error.what()).find("(snapkv@1%, length 150, example 0)"), std::string::npos);
  }
}

// What follows the edit sees the same as in a session edited by hand; the exact cache is that of a fresh
// prefill of what remains.
TEST_F(GridTest, ErasingIsComparedWithAFreshPrefill) {
  grid_.cells = {{.method = "recompute"}, {.method = "none"}, {.method = "drop"}};
  Results results = open(false);
  run(results);
  const Example example = text_->make(*model_, {200, 1, 1});
  const Question& question = example.questions[0];
  std::vector<Token> rest = example.context;
  rest.erase(rest.begin() + example.erased[0].begin, rest.begin() + example.erased[0].end);
  Session exact = fresh(model_, rest);
  for (const std::string method : {"recompute", "none", "drop"}) {
    Session session = fresh(model_, example.context);
    if (method != "none") session.erase(example.erased[0], {.method = method});
    Session compared = exact.fork();
    double kl = 0;
    for (const Token& token : question.continuation) {
      kl += divergence(compared.logits(), session.logits(), model_->info().vocabulary).mean / 64;
      compared.append_tokens({&token, 1});
      session.append_tokens({&token, 1});
    }
    const double measured = score(results, 200, 1, {.method = method});
    EXPECT_NEAR(measured, kl, 1e-4 * kl + 1e-6) << method;
    if (method == "recompute") {
      EXPECT_LT(measured, 1e-6);
    } else {
      EXPECT_GT(measured, 1e-5);
    }
  }
}

// As the official script has it for samsum: a line break ends an answer, unless it is all that there is.
TEST_F(GridTest, AnAnswerIsNotEndedByItsFirstToken) {
  Question question;
  question.answer_tokens = 6;
  const std::vector<Token> tokens = model_->tokenize("\nab\nc");
  EXPECT_EQ(answer_text(*model_, tokens, question), "");
  question.begins = true;
  EXPECT_EQ(answer_text(*model_, tokens, question), "\nab");
  // A context after which the likeliest token is a line break or an end.
  const Token line_break = tokens.front();
  std::vector<Token> context;
  for (uint32_t seed = 0; context.empty() && seed < 3000; seed++) {
    const std::vector<Token> tried = random_tokens(5, seed);
    const std::vector<float> logits = fresh(model_, tried).logits();
    const auto best = static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    if (best == line_break || best == 0 || best == 2) context = tried;
  }
  ASSERT_FALSE(context.empty());
  for (const bool begins : {false, true}) {
    question.begins = begins;
    LoadedExample loaded(model_, {context, {}, {question}}, 1, {});
    EXPECT_EQ(loaded.ask(kFull, {}, {}).answers[0].text.empty(), !begins);
  }
}

// "near": `drop` is no further off than `recompute`. "far": it is, and one example much more.
TEST_F(GridTest, WhatRoundingAloneMakesIsNoReference) {
  TaskInfo info{.name = "made up", .metrics = {{"leaks", Mean::share}, {"KL", Mean::arithmetic}}};
  const Cell exact{.method = "recompute"}, drop{.method = "drop"}, shift{.method = "shift"};
  grid_ = {{exact, drop, shift}, {100}, 12, 1, {}};
  Results results(path_, kSetting, {"leaks", "KL"}, false);
  for (int i = 0; i < 12; i++) {
    const double rounding = 0.01 + 0.001 * i;
    results.add({100, i, exact, {{"near", "", "", "", {0, rounding}}, {"far", "", "", "", {0, rounding}}}});
    results.add(
        {100, i, drop, {{"near", "", "", "", {0, rounding}}, {"far", "", "", "", {0, i == 7 ? 9.0 : 0.3}}}});
    results.add({100, i, shift, {{"near", "", "", "", {0, 0.02}}, {"far", "", "", "", {0, 0.1}}}});
  }
  const Report report = make_report(info, kSetting, results, grid_, {drop});
  const auto row = [&](const std::string& kind, const Cell& cell) {
    return *std::find_if(report.rows.begin(), report.rows.end(),
                         [&](const ReportRow& r) { return r.kind == kind && r.cell == cell; });
  };
  EXPECT_TRUE(row("near", shift).floor[1]);
  EXPECT_FALSE(row("near", shift).quotient[1]);
  EXPECT_FALSE(row("far", shift).floor[1]);
  EXPECT_TRUE(row("far", shift).quotient[1]);
  EXPECT_FALSE(row("far", shift).quotient[0]) << "of shares that are both 0";
  EXPECT_DOUBLE_EQ(row("far", drop).tails[1]->median, 0.3);
  EXPECT_EQ(row("far", drop).tails[1]->worst, 9);
  const Json json = to_json(report);
  EXPECT_EQ(json.dump().find("null"), std::string::npos);
  const std::string text = to_markdown(report);
  EXPECT_NE(text.find("(floor) |"), std::string::npos) << text;
  EXPECT_NE(text.find("| 100 | far | drop | 12 | 1.0250 | 0.3000 | 9.0000 | 9.0000 |"), std::string::npos)
      << text;
  EXPECT_EQ(text.find("12\\*"), std::string::npos) << text;
}

TEST_F(GridTest, AStaleQuestionIsReadBeforeTheEditAndAFreshOneAfter) {
  const std::vector<Token> context = random_tokens(100, 3), asked = random_tokens(9, 4);
  Example example{context, {{40, 60}}, {}};
  Question fresh_question, stale, early;
  fresh_question.after = stale.before = asked;
  early.cut = 70;
  early.continuation = random_tokens(5, 5);
  for (Question* q : {&fresh_question, &stale}) {
    q->answer_tokens = 6;
    q->stop = {};
    q->compared = true;
  }
  example.questions = {fresh_question, stale, early};
  LoadedExample grid(model_, example, 1, {});
  const CellAnswers asking = grid.ask({.method = "shift"}, {}, {});
  const auto by_hand = [&](bool stale_question) {
    Session session = fresh(model_, context);
    if (stale_question) session.append_tokens(asked);
    session.erase(Span{40, 60}, {.method = "shift"});
    if (!stale_question) session.append_tokens(asked);
    return session.generate({.max_tokens = 6}).text;
  };
  EXPECT_EQ(asking.answers[0].text, by_hand(false));
  EXPECT_EQ(asking.answers[1].text, by_hand(true));
  EXPECT_NE(asking.answers[0].kl, asking.answers[1].kl);
  EXPECT_EQ(asking.answers[0].exact_text, asking.answers[1].exact_text);
  Session cut = fresh(model_, std::vector(context.begin(), context.begin() + 70));
  cut.erase(Span{40, 60}, {.method = "shift"});
  double likelihood = 0;
  for (const Token& token : early.continuation) {
    const std::vector<float> logits = cut.logits();
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x));
    likelihood += (logits[token] - std::log(sum)) / 5;
    cut.append_tokens({&token, 1});
  }
  EXPECT_NEAR(asking.answers[2].perplexity, std::exp(-likelihood), 1e-4 * std::exp(-likelihood));
}

TEST_F(GridTest, AnswersAreGenerated) {
  TinySpec spec = spec_of("llama");
  spec.context = 1024;
  const auto model = load(spec, exact_options());
  const auto task = open_task("niah-noise", options_with(haystack_));
  const Grid grid{{kFull, kHalf}, {500}, 1, 1, {}};
  std::vector<Result> made;
  run_grid(
      model, *task, grid, [](int, int, const Cell&) { return false; },
      [&](const Result& result) { made.push_back(result); });
  ASSERT_EQ(made.size(), 2U);
  const Example example = task->make(*model, {500, 1, 0});
  const Question& question = example.questions.at(0);
  Session session(model);
  session.append_tokens(example.context);
  session.append_tokens(question.before);
  GenerateOptions options;
  options.max_tokens = question.answer_tokens;
  options.stop = {"\n"};
  EXPECT_EQ(made[0].questions[0].answer, session.generate(options).text);
  EXPECT_EQ(made[0].questions[0].expected, question.expected[0]);
}

}  // namespace
}  // namespace kvedit::eval
