#include <xxhash.h>

#include <cmath>
#include <regex>

#include "eval/loaded_example.h"
#include "session_testing.h"

namespace kvedit::eval {
namespace {

class EraseNiahTest : public testing::Test {
 protected:
  std::unique_ptr<Task> open(const std::string& text = "erase-niah", Order order = Order::own) const {
    return open_task(text, {haystack_, {}, false, order});
  }
  Example make(const ExampleSpec& spec) const { return open()->make(*model_, spec); }
  std::string text(const Example& example, Span span) const {
    return model_->detokenize(std::span(example.context).subspan(span.begin, span.size()));
  }
  static TinySpec long_context() {
    TinySpec spec = spec_of("llama");
    spec.context = 4096;
    return spec;
  }
  std::shared_ptr<Model> model_ = load(long_context(), exact_options());
  std::shared_ptr<const Haystack> haystack_ =
      std::make_shared<const Haystack>(Haystack({prose(900, 1), prose(700, 2)}));
};

TEST_F(EraseNiahTest, SameSeedSameExampleAndLengthsAreMet) {
  for (const int length : {1500, 3000}) {
    const Example example = make({length, 7, 3});
    EXPECT_EQ(make({length, 7, 3}).context, example.context);
    EXPECT_NE(make({length, 7, 4}).context, example.context);
    EXPECT_NEAR(static_cast<double>(example.context.size()), length, 0.02 * length);
  }
}

TEST_F(EraseNiahTest, WhatIsErasedIsTwoWholeSentencesThatDoNotOverlap) {
  static const std::regex kSentence(R"( The magic number of the \w+ is \d{4}\.)");
  for (int i = 0; i < 20; i++) {
    const Example example = make({1500, 1, i});
    ASSERT_EQ(example.erased.size(), 2U);
    EXPECT_LE(example.erased[0].end, example.erased[1].begin);
    for (const Span& span : example.erased)
      EXPECT_TRUE(std::regex_match(text(example, span), kSentence)) << text(example, span);
  }
}

// The oracle reads what remains: it knows the right and the retained number, and finds no unique one.
TEST_F(EraseNiahTest, AnOracleThatReadsWhatRemainsSolvesIt) {
  static const std::regex kQuestion(R"(the magic number of the (\w+)\?)");
  const auto task = open();
  int asked = 0, solved = 0;
  for (int i = 0; i < 30; i++) {
    const Example example = task->make(*model_, {1500, 5, i});
    std::vector<Token> rest = example.context;
    for (size_t s = example.erased.size(); s-- > 0;)
      rest.erase(rest.begin() + example.erased[s].begin, rest.begin() + example.erased[s].end);
    const std::string remains = model_->detokenize(rest), all = model_->detokenize(example.context);
    for (const Question& question : example.questions) {
      if (!question.continuation.empty()) continue;
      const std::string words = model_->detokenize(question.before) + model_->detokenize(question.after);
      std::smatch key, value;
      ASSERT_TRUE(std::regex_search(words, key, kQuestion));
      const std::regex fact("The magic number of the " + key[1].str() + R"( is (\d{4})\.)");
      Answer answer;
      answer.text = std::regex_search(remains, value, fact) ? " " + value[1].str() + "." : " unknown";
      const std::vector<double> scores = task->score(question, answer);
      asked++;
      solved += scores[0] != 0 && scores[1] != 1;
      if (!question.wrong.empty()) {
        EXPECT_NE(all.find(question.wrong), std::string::npos);
        EXPECT_EQ(remains.find(question.wrong), std::string::npos);
      }
      const bool stale = question.kind.starts_with("stale/");
      EXPECT_EQ(question.after.empty(), stale);
      EXPECT_EQ(question.before.empty(), !stale);
    }
  }
  EXPECT_EQ(asked, 180);
  EXPECT_GE(solved, 0.95 * asked);
}

TEST_F(EraseNiahTest, TextQuestionsAreTheTokensThatFollowAnErasedSpan) {
  int neighbours = 0, later = 0;
  for (int i = 0; i < 20; i++) {
    const Example example = make({3000, 1, i});
    for (const Question& question : example.questions) {
      if (question.continuation.empty()) continue;
      EXPECT_EQ(question.continuation, std::vector<Token>(example.context.begin() + question.cut,
                                                          example.context.begin() + question.cut + 64));
      const int gap = question.kind == "neighbours" ? 0 : 256;
      EXPECT_TRUE(std::any_of(example.erased.begin(), example.erased.end(),
                              [&](Span span) { return span.end + gap + 1 == question.cut; }));
      (gap == 0 ? neighbours : later)++;
    }
  }
  EXPECT_GE(neighbours, 18);
  EXPECT_GE(later, 15);
}

TEST_F(EraseNiahTest, TheExactMethodAnswersAsTheExactCacheAndOthersDiffer) {
  const auto task = open();
  LoadedExample loaded(model_, task->make(*model_, {1200, 1, 0}), 1, {});
  const auto mean_kl = [&](const char* method) {
    const CellAnswers answers = loaded.ask({.method = method}, {}, {});
    double sum = 0;
    for (size_t i = 0; i < answers.answers.size(); i++) {
      const std::vector<double> scores = task->score(loaded.example().questions[i], answers.answers[i]);
      sum += scores[3] / static_cast<double>(answers.answers.size());
      if (std::string(method) == "recompute" && !std::isnan(scores[2])) {
        EXPECT_EQ(scores[2], 1);
      }
    }
    return sum;
  };
  EXPECT_LT(mean_kl("recompute"), 1e-6);
  EXPECT_GT(mean_kl("drop"), 1e-5);
  EXPECT_GT(mean_kl("none"), 1e-5);
}

// Recorded once: examples are the same on every machine.
TEST_F(EraseNiahTest, ExamplesAreTheSameOnEveryMachine) {
  const std::string text =
      model_->detokenize(open("erase-niah:filler=noise")->make(*model_, {1200, 11, 4}).context);
  EXPECT_EQ(XXH3_64bits(text.data(), text.size()), 4279644744192487817U);
}

}  // namespace
}  // namespace kvedit::eval
