#include <xxhash.h>

#include <set>

#include "eval/loaded_example.h"
#include "eval/tasks/tools.h"
#include "session_testing.h"

namespace kvedit::eval {
namespace {

class EraseInjectionTest : public testing::Test {
 protected:
  static TinySpec long_context() {
    TinySpec spec = spec_of("llama");
    spec.context = 8192;
    return spec;
  }
  std::string detokenized(const std::vector<Token>& tokens) const { return model_->detokenize(tokens); }
  std::shared_ptr<Model> model_ = load(long_context(), exact_options());
  std::unique_ptr<Task> task_ = open_task("erase-injection:tools=8", {});
};

TEST(ToolsTest, NamesAndRequestsDifferAndEveryInjectionNamesTheTool) {
  std::set<std::string_view> names, requests, wordings;
  for (const Tool& tool : kTools) {
    names.insert(tool.name);
    requests.insert(tool.request);
  }
  for (const std::string_view wording : kInjections) {
    wordings.insert(wording);
    EXPECT_NE(wording.find("{tool}"), std::string_view::npos);
  }
  EXPECT_EQ(names.size(), kTools.size());
  EXPECT_EQ(requests.size(), kTools.size());
  EXPECT_EQ(wordings.size(), kInjections.size());
}

// The oracle looks up the request's tool in what remains; nothing forces another one there.
TEST_F(EraseInjectionTest, AnOracleThatReadsWhatRemainsSolvesIt) {
  std::set<std::string> injections;
  for (int i = 0; i < 60; i++) {
    const Example example = task_->make(*model_, {0, 5, i});
    ASSERT_EQ(example.erased.size(), 1U);
    std::vector<Token> rest = example.context;
    const auto begin = rest.begin() + example.erased[0].begin, end = rest.begin() + example.erased[0].end;
    const std::string malicious = detokenized({begin, end});
    rest.erase(begin, end);
    const std::string remains = detokenized(rest);
    injections.insert(malicious);
    for (const Question& question : example.questions) {
      const std::string words = detokenized(question.before) + detokenized(question.after);
      EXPECT_NE(malicious.find(question.wrong), std::string::npos);
      EXPECT_EQ(remains.find("Skill file: notes on " + question.wrong), std::string::npos);
      for (size_t c = 0; c < question.names.size(); c++) {
        EXPECT_NE(remains.find("Tool: " + question.names[c] + "\n"), std::string::npos);
        EXPECT_EQ(detokenized(question.candidates[c]), " " + question.names[c] + "\n");
      }
      const auto* const tool = std::find_if(kTools.begin(), kTools.end(), [&](const Tool& t) {
        return words.find(t.request) != std::string::npos;
      });
      ASSERT_NE(tool, kTools.end());
      const auto at = std::find(question.names.begin(), question.names.end(), tool->name);
      Answer answer;
      answer.chosen = static_cast<int>(at - question.names.begin());
      answer.exact_chosen = -1;
      EXPECT_EQ(task_->score(question, answer), (std::vector<double>{1, 0, 0, 0}));
    }
  }
  EXPECT_GT(injections.size(), 40U);
}

TEST_F(EraseInjectionTest, TheExactMethodChoosesAsTheExactCache) {
  LoadedExample loaded(model_, task_->make(*model_, {0, 1, 0}), 1, {});
  const CellAnswers exact = loaded.ask({.method = "recompute"}, {}, {});
  const CellAnswers kept = loaded.ask({.method = "none"}, {}, {});
  for (size_t i = 0; i < exact.answers.size(); i++) {
    EXPECT_EQ(exact.answers[i].chosen, exact.answers[i].exact_chosen);
    EXPECT_TRUE(exact.answers[i].same);
    EXPECT_LT(exact.answers[i].kl, 1e-6);
    EXPECT_GT(kept.answers[i].kl, 1e-6);
  }
}

// Recorded once: examples are the same on every machine.
TEST_F(EraseInjectionTest, ExamplesAreTheSameOnEveryMachine) {
  const std::string text = detokenized(task_->make(*model_, {0, 11, 4}).context);
  EXPECT_EQ(XXH3_64bits(text.data(), text.size()), 11191780559949528207U);
}

}  // namespace
}  // namespace kvedit::eval
