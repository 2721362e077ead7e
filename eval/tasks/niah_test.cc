#include <regex>

#include "eval/task.h"
#include "session_testing.h"

namespace kvedit::eval {
namespace {

TinySpec long_context() {
  TinySpec spec = spec_of("llama");
  spec.context = 4096;
  return spec;
}

struct Found {
  std::string key, value;
  std::ptrdiff_t begin, end;
};

std::vector<Found> needles_in(const std::string& text) {
  static const std::regex kNeedle(R"(The magic number of the (\w+) is (\d{4})\.)");
  std::vector<Found> found;
  for (std::sregex_iterator it(text.begin(), text.end(), kNeedle), end; it != end; ++it)
    found.push_back({(*it)[1], (*it)[2], it->position(), it->position() + it->length()});
  return found;
}

class NiahTest : public testing::TestWithParam<std::pair<const char*, size_t>> {
 protected:
  NiahTest() : model_(load(long_context(), exact_options())), task_(find_task(GetParam().first)) {}
  Example make(const Wish& wish) const { return task_.make(*model_, haystack_, wish); }
  std::string text(const Example& example) const { return model_->detokenize(example.context); }

  std::shared_ptr<Model> model_;
  const Task& task_;
  Haystack haystack_{{prose(900, 1), prose(700, 2)}};
};

TEST_P(NiahTest, SameSeedSameExampleAndOthersDiffer) {
  const Example example = make({1024, 7, 3});
  EXPECT_EQ(make({1024, 7, 3}).context, example.context);
  EXPECT_NE(make({1024, 8, 3}).context, example.context);
  EXPECT_NE(make({1024, 7, 4}).context, example.context);
}

TEST_P(NiahTest, LengthIsMetWithinTwoPercent) {
  for (const int length : {600, 1024, 4000}) {
    for (int i = 0; i < 10; i++) {
      const auto tokens = static_cast<double>(make({length, 1, i}).context.size());
      EXPECT_LE(tokens, length);
      EXPECT_GE(tokens, 0.98 * length);
    }
  }
  EXPECT_EQ(code_of([&] { make({40, 1, 0}); }), ErrorCode::out_of_range);
}

TEST_P(NiahTest, NeedlesStandApartAndBetweenSentences) {
  for (int i = 0; i < 20; i++) {
    const std::string all = text(make({1024, 1, i}));
    const std::vector<Found> needles = needles_in(all);
    ASSERT_EQ(needles.size(), GetParam().second) << all;
    std::set<std::string> keys, values;
    for (size_t n = 0; n < needles.size(); n++) {
      EXPECT_GT(needles[n].begin, n > 0 ? needles[n - 1].end : 0);
      keys.insert(needles[n].key);
      values.insert(needles[n].value);
      const std::string before = all.substr(needles[n].begin - 2, 2);
      EXPECT_TRUE(before == ". " || before == "\n ") << "in the middle of a sentence: " << before;
    }
    EXPECT_EQ(keys.size(), needles.size());
    EXPECT_EQ(values.size(), needles.size());
  }
}

TEST_P(NiahTest, AnOracleThatReadsTheTextSolvesIt) {
  static const std::regex kQuestion(R"(Question: What is the magic number of the (\w+)\?)");
  int solved = 0;
  std::set<size_t> asked;
  constexpr int kExamples = 60;
  for (int i = 0; i < kExamples; i++) {
    const Example example = make({1024, 5, i});
    const std::string all = text(example);
    std::smatch question;
    ASSERT_TRUE(std::regex_search(all, question, kQuestion));
    const std::vector<Found> needles = needles_in(all);
    for (size_t n = 0; n < needles.size(); n++) {
      if (needles[n].key != question[1]) continue;
      asked.insert(n);
      Answer answer;
      answer.text = " " + needles[n].value + ".";
      solved += task_.score(example, answer) == std::vector<double>{1};
    }
  }
  EXPECT_GE(solved, 0.95 * kExamples);
  EXPECT_EQ(asked.size(), GetParam().second) << "every depth is asked for";
}

TEST_P(NiahTest, ScoresByTheNumber) {
  const Example example{{}, {}, "1234", 12};
  const auto score = [&](const char* text) {
    Answer answer;
    answer.text = text;
    return task_.score(example, answer);
  };
  EXPECT_EQ(score(" 1234."), std::vector<double>{1});
  EXPECT_EQ(score(" 123."), std::vector<double>{0});
  EXPECT_EQ(score(""), std::vector<double>{0});
}

INSTANTIATE_TEST_SUITE_P(Tasks, NiahTest,
                         testing::Values(std::pair{"niah-noise", size_t{1}},
                                         std::pair{"niah-keys", size_t{5}}),
                         [](const auto& test) { return test.index == 0 ? "noise" : "keys"; });

TEST(TaskTest, UnknownNameSaysWhichThereAre) {
  try {
    find_task("niah");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_STREQ(error.what(), "[eval] no task 'niah'; there are text, niah-noise, niah-keys");
  }
}

}  // namespace
}  // namespace kvedit::eval
