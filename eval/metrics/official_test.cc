// Our scores, prompts and lengths against the official ones: tests/fixtures/official_scores.json, made from
// the official scripts by the script beside it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "eval/longbench/longbench.h"
#include "eval/metrics/match.h"
#include "eval/metrics/similarity.h"
#include "eval/metrics/text.h"
#include "eval/ruler/ruler.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

using nlohmann::json;

// Both compute in double precision; what differs is the order of a few products.
constexpr double kTolerance = 1e-12;

class OfficialTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fixture = json::parse(std::ifstream(KVEDIT_FIXTURES "/official_scores.json"));
    if (std::filesystem::exists(std::string(kJiebaFolder) + "/dict.txt")) jieba = new Jieba(Jieba::load());
  }
  static void TearDownTestSuite() {
    delete jieba;
    jieba = nullptr;
  }
  static json fixture;
  static Jieba* jieba;
};
json OfficialTest::fixture;
Jieba* OfficialTest::jieba = nullptr;

TEST_F(OfficialTest, LongBenchScores) {
  size_t checked = 0, right = 0, wrong = 0;
  for (const json& row : fixture["longbench"]) {
    const longbench::DataSet& set = longbench::find_data_set(row["dataset"].get<std::string>());
    if (set.chinese && jieba == nullptr) continue;
    std::vector<std::string> classes;
    if (!row["classes"].is_null()) classes = row["classes"];
    const double score =
        longbench::score(set, row["answer"].get<std::string>(), row["references"], classes, jieba);
    EXPECT_NEAR(score, row["score"], kTolerance) << row;
    checked++;
    right += score > 0.999;
    wrong += score == 0;
  }
  EXPECT_GE(checked, jieba != nullptr ? 200U : 150U);
  EXPECT_GT(right, 30U);
  EXPECT_GT(wrong, 30U);
  if (jieba == nullptr) GTEST_SKIP() << "python3-jieba is missing: Chinese scores were left out";
}

TEST_F(OfficialTest, JiebaCutsTheSameWords) {
  if (jieba == nullptr) GTEST_SKIP() << "python3-jieba is missing";
  for (const json& row : fixture["jieba"]) {
    std::vector<std::string> words;
    for (const std::u32string& word : jieba->cut(code_points(row["text"].get<std::string>())))
      words.push_back(utf8(word));
    EXPECT_EQ(json(words), row["words"]);
  }
}

TEST_F(OfficialTest, FuzzRatios) {
  for (const json& row : fixture["fuzz"])
    EXPECT_EQ(fuzz_ratio(code_points(row["a"].get<std::string>()), code_points(row["b"].get<std::string>())),
              row["ratio"])
        << row;
}

TEST_F(OfficialTest, RulerScores) {
  for (const json& row : fixture["ruler"]) {
    const std::string cleaned = trimmed_answer(row["answer"].get<std::string>());
    EXPECT_EQ(cleaned, row["cleaned"]);
    EXPECT_NEAR(string_match_all(cleaned, row["references"]), row["all"], kTolerance) << row;
    EXPECT_EQ(string_match_part(cleaned, row["references"]), row["part"]) << row;
  }
}

TEST_F(OfficialTest, LongBenchPromptsAndLengths) {
  EXPECT_EQ(fixture["prompts"].size(), longbench::data_sets().size());
  for (const auto& [name, prompt] : fixture["prompts"].items()) {
    EXPECT_EQ(prompt, longbench::find_data_set(name).prompt);
    EXPECT_EQ(fixture["lengths"][name], longbench::find_data_set(name).answer_tokens);
  }
}

TEST_F(OfficialTest, RulerWording) {
  EXPECT_EQ(fixture["templates"].size(), ruler::wordings().size());
  for (const auto& [name, official] : fixture["templates"].items()) {
    const ruler::Wording& ours = ruler::wording(name);
    EXPECT_EQ(official["template"], ours.text);
    EXPECT_EQ(official["answer_prefix"], ours.prefix);
    EXPECT_EQ(official["tokens_to_generate"], ours.answer_tokens);
  }
}

TEST(JiebaTest, MissingDictionaryNamesThePackage) {
  try {
    Jieba::load("/nonexistent");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_NE(std::string(error.what()).find("python3-jieba"), std::string::npos);
  }
}

}  // namespace
}  // namespace kvedit::eval
