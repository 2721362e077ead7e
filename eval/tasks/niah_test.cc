#include <xxhash.h>

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

struct Case {
  const char* name;
  const char* task;
  size_t needles, asked;
};

class NiahTest : public testing::TestWithParam<Case> {
 protected:
  Example make(const ExampleSpec& spec) const { return task_->make(*model_, spec); }
  std::string text(const Example& example) const { return model_->detokenize(example.context); }
  std::string text(const Question& question) const {
    return model_->detokenize(question.before) + model_->detokenize(question.after);
  }

  std::shared_ptr<Model> model_ = load(long_context(), exact_options());
  std::unique_ptr<Task> task_ = open_task(
      GetParam().task, {std::make_shared<const Haystack>(Haystack({prose(900, 1), prose(700, 2)}))});
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
      const Example example = make({length, 1, i});
      const auto tokens = static_cast<double>(example.context.size() + example.questions[0].before.size());
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
    ASSERT_EQ(needles.size(), GetParam().needles) << all;
    std::set<std::string> keys, values;
    for (size_t n = 0; n < needles.size(); n++) {
      EXPECT_GT(needles[n].begin, n > 0 ? needles[n - 1].end : 0);
      keys.insert(needles[n].key);
      values.insert(needles[n].value);
      const std::string before = all.substr(needles[n].begin - 2, 2);
      EXPECT_TRUE(before == ". " || before == "\n\n") << "in the middle of a sentence: " << before;
    }
    EXPECT_EQ(keys.size(), needles.size());
    EXPECT_EQ(values.size(), needles.size());
  }
}

TEST_P(NiahTest, AnOracleThatReadsTheTextSolvesIt) {
  static const std::regex kQuestion(R"(Question: What is the magic number of the (\w+)\?)");
  size_t solved = 0;
  std::set<size_t> asked;
  constexpr size_t kExamples = 60;
  for (size_t i = 0; i < kExamples; i++) {
    const Example example = make({1024, 5, static_cast<int>(i)});
    const std::vector<Found> needles = needles_in(text(example));
    ASSERT_EQ(example.questions.size(), GetParam().asked);
    for (const Question& question : example.questions) {
      const std::string words = text(question);
      std::smatch match;
      ASSERT_TRUE(std::regex_search(words, match, kQuestion));
      for (size_t n = 0; n < needles.size(); n++) {
        if (needles[n].key != match[1]) continue;
        asked.insert(n);
        Answer answer;
        answer.text = " " + needles[n].value + ".";
        solved += task_->score(question, answer) == std::vector<double>{1};
      }
    }
  }
  EXPECT_GE(solved, kExamples * GetParam().asked * 95 / 100);
  EXPECT_EQ(asked.size(), GetParam().needles) << "every depth is asked for";
}

TEST_P(NiahTest, ScoresByTheNumber) {
  Question question;
  question.expected = {"1234"};
  const auto score = [&](const char* text) {
    Answer answer;
    answer.text = text;
    return task_->score(question, answer);
  };
  EXPECT_EQ(score(" 1234."), std::vector<double>{1});
  EXPECT_EQ(score(" 123."), std::vector<double>{0});
  EXPECT_EQ(score(""), std::vector<double>{0});
}

INSTANTIATE_TEST_SUITE_P(Tasks, NiahTest,
                         testing::Values(Case{"noise", "niah-noise", 1, 1}, Case{"keys", "niah-keys", 5, 1},
                                         Case{"single", "niah", 1, 1},
                                         Case{"multi", "niah:needles=4,asked=2,filler=noise", 4, 2}),
                         [](const auto& test) { return test.param.name; });

class NiahGridTest : public testing::Test {
 protected:
  std::unique_ptr<Task> open(const std::string& text, Order order = Order::own) const {
    return open_task(text, {haystack_, {}, false, order});
  }
  std::shared_ptr<Model> model_ = load(long_context(), exact_options());
  std::shared_ptr<const Haystack> haystack_ = std::make_shared<const Haystack>(Haystack({prose(900, 1)}));
};

TEST_F(NiahGridTest, NeedlesStandAtTheDepthsOfTheGrid) {
  const auto task = open("niah:depths=5,filler=noise");
  for (int i = 0; i < 10; i++) {
    const Example example = task->make(*model_, {2000, 1, i});
    const std::string text = model_->detokenize(example.context);
    const Found needle = needles_in(text).at(0);
    const double depth = static_cast<double>(needle.begin) / static_cast<double>(text.size());
    EXPECT_NEAR(depth, (i % 5) * 0.25, 0.03);
    EXPECT_EQ(example.questions[0].kind, "all depths/" + std::to_string((i % 5) * 25) + " %");
  }
}

TEST_F(NiahGridTest, TheOrderSaysWhatIsReadBeforeTheEdit) {
  const auto size = [&](Order order) {
    const Question question = open("niah", order)->make(*model_, {800, 1, 0}).questions[0];
    return std::pair(model_->detokenize(question.before), model_->detokenize(question.after));
  };
  const auto [nothing, all] = size(Order::question_after);
  const auto [question, opening] = size(Order::question_first);
  EXPECT_EQ(nothing, "");
  EXPECT_EQ(question + opening, all);
  EXPECT_TRUE(question.ends_with("?\nAnswer:")) << question;
  EXPECT_EQ(size(Order::answer_first), (std::pair<std::string, std::string>(all, "")));
}

// Recorded once: examples are the same on every machine.
TEST_F(NiahGridTest, ExamplesAreTheSameOnEveryMachine) {
  const Example example = open("niah:needles=3,filler=noise")->make(*model_, {600, 11, 4});
  EXPECT_EQ(example.questions[0].expected, std::vector<std::string>{"8201"});
  const std::string text = model_->detokenize(example.context);
  EXPECT_EQ(XXH3_64bits(text.data(), text.size()), 14709813767867537639U);
}

TEST(TaskTest, UnknownNameSaysWhichThereAre) {
  try {
    find_task("hay");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_TRUE(std::string(error.what()).starts_with("[eval] no task 'hay'; there are text, niah, "))
        << error.what();
  }
}

TEST(TaskTest, UnknownParametersAndUnwantedFilesAreRefused) {
  const TaskOptions options{std::make_shared<const Haystack>(Haystack({"A text."}))};
  const auto what = [&](const std::string& text, TaskOptions given) -> std::string {
    try {
      open_task(text, std::move(given));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(what("niah:needles=0", options), "[eval] niah: needles=0 is outside 1..24");
  EXPECT_EQ(what("niah:depth=3", options),
            "[eval] niah: no parameter \"depth\"; known: needles, asked, depths, filler");
  EXPECT_EQ(what("niah:noise", options), "[eval] niah: \"noise\" is not key=value");
  TaskOptions with_file = options;
  with_file.data = {"x.json"};
  EXPECT_EQ(what("niah", with_file), "[eval] niah reads no --data: x.json");
}

}  // namespace
}  // namespace kvedit::eval
