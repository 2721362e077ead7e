// The grid, its file of results and the report, on tiny models.
#include "eval/grid.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include "eval/report.h"
#include "session_testing.h"

namespace kvedit::eval {
namespace {

std::string read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

const Json kSetting = {{"task", "text"}, {"seed", 1}};

class GridTest : public testing::Test {
 protected:
  GridTest() { std::remove(path_.c_str()); }

  Results open(bool resume) const {
    std::vector<std::string> metrics;
    for (const Metric& metric : text_task().info().metrics) metrics.push_back(metric.name);
    return {path_, kSetting, metrics, resume};
  }
  void run(Results& results, const Task& task = text_task(), const Progress& progress = {}) const {
    run_grid(
        model_, task, haystack_, grid_,
        [&](int length, int example, const Cell& cell) { return results.have(length, example, cell); },
        [&](const Result& result) { results.add(result); }, progress);
  }
  std::string table(const Results& results) const {
    const TaskInfo info = text_task().info();
    return to_markdown(info, kSetting, report_rows(results, grid_, info.metrics));
  }

  std::string path_ = temporary_path("results.jsonl");
  std::shared_ptr<Model> model_ = load(spec_of("llama"), exact_options());
  Haystack haystack_{{prose(300, 1), prose(300, 2)}};
  Grid grid_{{kFull, {"snapkv", "100%"}, {"snapkv", "50%"}, {"keydiff", "50%"}}, {150, 200}, 3, 1};
};

TEST_F(GridTest, KeepingAllIsTheFullCache) {
  Results results = open(false);
  run(results);
  EXPECT_EQ(results.size(), 24U);
  for (const int length : grid_.lengths) {
    for (int i = 0; i < grid_.examples; i++) {
      const Result& full = results.get(length, i, kFull);
      const Result& all = results.get(length, i, {"snapkv", "100%"});
      EXPECT_EQ(full.scores[0], 0);
      EXPECT_EQ(all.scores, full.scores);
      EXPECT_EQ(all.bytes, full.bytes);
      const Result& half = results.get(length, i, {"snapkv", "50%"});
      EXPECT_GT(half.scores[0], 1e-6);
      EXPECT_LT(half.bytes, full.bytes);
      EXPECT_EQ(half.prompt, full.prompt);
    }
  }
}

// KL and perplexity as their definitions say, token by token.
TEST_F(GridTest, ScoresAgreeWithASlowReference) {
  Results results = open(false);
  run(results);
  const Example example = text_task().make(*model_, haystack_, {150, 1, 2});
  Session full(model_);
  full.append_tokens(example.context);
  Session half = full.fork();
  half.evict("keydiff", Budget::fraction(0.5));
  double kl = 0, likelihood = 0;
  for (const Token& token : example.continuation) {
    const std::vector<float> p = full.logits(), q = half.logits();
    kl += divergence(p, q, model_->info().vocabulary).mean / 64;
    double sum = 0;
    for (const float x : q) sum += std::exp(static_cast<double>(x));
    likelihood += (q[token] - std::log(sum)) / 64;
    full.append_tokens({&token, 1});
    half.append_tokens({&token, 1});
  }
  const Result& result = results.get(150, 2, {"keydiff", "50%"});
  EXPECT_NEAR(result.scores[0], kl, 1e-4 * kl + 1e-7);  // the grid's log-probabilities are floats
  EXPECT_NEAR(result.scores[1], std::exp(-likelihood), 1e-4 * std::exp(-likelihood));
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
    EXPECT_EQ(code_of([&] { run(results, text_task(), [&](size_t done, size_t) { return done < until; }); }),
              ErrorCode::cancelled);
    EXPECT_EQ(results.size(), until);
  }
  const std::string written = read(path_);
  write(path_, written.substr(0, written.size() - 30));  // killed while it wrote a line
  Results results = open(true);
  EXPECT_EQ(results.size(), 13U);
  run(results);
  EXPECT_EQ(table(results), whole);
  EXPECT_EQ(table(open(true)), whole) << "from the file";
}

TEST_F(GridTest, AFileCutInItsFirstLineBeginsAnew) {
  write(path_, R"({"task":)");
  EXPECT_EQ(open(true).size(), 0U);
  EXPECT_EQ(read(path_), kSetting.dump() + "\n");
}

TEST_F(GridTest, EarlierResultsAreNotMixedUnasked) {
  { open(false).add({100, 0, kFull, "", "", "", {0, 1}}); }
  EXPECT_EQ(code_of([&] { open(false); }), ErrorCode::invalid_argument);
  std::string text = read(path_);
  write(path_, text.replace(text.find("\"seed\":1"), 8, "\"seed\":2"));
  try {
    open(true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), "[eval] " + path_ + " has results of seed 2, not 1");
  }
}

TEST_F(GridTest, AMalformedLineIsNamed) {
  for (const char* line : {"not JSON", "{}", "[1]", R"({"length":"long"})", ""}) {
    write(path_, kSetting.dump() + "\n" + line + "\n");
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
    EXPECT_NE(std::string(error.what()).find("(snapkv at 1%, length 150, example 0)"), std::string::npos);
  }
}

TEST_F(GridTest, AnswersAreGenerated) {
  grid_ = {{kFull, {"keydiff", "50%"}}, {500}, 1, 1};
  std::vector<Result> made;
  run_grid(
      model_, niah_noise_task(), haystack_, grid_, [](int, int, const Cell&) { return false; },
      [&](const Result& result) { made.push_back(result); });
  ASSERT_EQ(made.size(), 2U);
  const Example example = niah_noise_task().make(*model_, haystack_, {500, 1, 0});
  Session session(model_);
  session.append_tokens(example.context);
  GenerateOptions options;
  options.max_tokens = example.answer_tokens;
  options.stop = {"\n"};
  EXPECT_EQ(made[0].answer, session.generate(options).text);
  EXPECT_EQ(made[0].expected, example.expected);
}

}  // namespace
}  // namespace kvedit::eval
