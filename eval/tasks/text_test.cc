#include "eval/task.h"
#include "session_testing.h"

namespace kvedit::eval {
namespace {

class TextTest : public testing::Test {
 protected:
  Example make(const Haystack& haystack, const ExampleSpec& spec) const {
    return open_task("text", {std::make_shared<const Haystack>(haystack)})->make(*model_, spec);
  }
  std::shared_ptr<Model> model_ = load(spec_of("llama"), exact_options());
};

TEST_F(TextTest, ContinuationIsWhatFollowsInTheText) {
  const Haystack haystack({prose(400, 1), prose(500, 2)});
  for (int i = 0; i < 6; i++) {
    const Example example = make(haystack, {300, 1, i});
    EXPECT_EQ(example.context.size(), 300U);
    const std::vector<Token>& continuation = example.questions.at(0).continuation;
    EXPECT_EQ(continuation.size(), 64U);
    std::vector<Token> all = example.context;
    all.insert(all.end(), continuation.begin(), continuation.end());
    const std::string text = model_->detokenize(all);
    bool found = false;
    for (const std::string& document : haystack.documents())
      found = found || document.find(text) != std::string::npos;
    EXPECT_TRUE(found) << text;
  }
}

TEST_F(TextTest, SameSeedSameExampleAndOthersDiffer) {
  const Haystack haystack({prose(800, 1), prose(800, 2), prose(800, 3)});
  const Example example = make(haystack, {200, 1, 2});
  EXPECT_EQ(make(haystack, {200, 1, 2}).context, example.context);
  EXPECT_NE(make(haystack, {200, 2, 2}).context, example.context);
  EXPECT_NE(make(haystack, {200, 1, 3}).context, example.context);
}

TEST_F(TextTest, EveryDocumentComesOnceBeforeOneComesAgain) {
  std::vector<std::string> documents;
  for (unsigned i = 0; i < 8; i++) documents.push_back(prose(60, i + 1));
  std::set<std::vector<Token>> seen;
  for (int i = 0; i < 8; i++) seen.insert(make(Haystack(documents), {100, 1, i}).context);
  EXPECT_EQ(seen.size(), 8U);
}

TEST_F(TextTest, ShortDocumentsAreLeftOut) {
  const Haystack haystack({"Too short.", prose(200, 1), "Too short as well."});
  for (int i = 0; i < 4; i++) EXPECT_EQ(make(haystack, {100, 1, i}).context.size(), 100U);
  EXPECT_EQ(code_of([&] { make(haystack, {4000, 1, 0}); }), ErrorCode::out_of_range);
}

}  // namespace
}  // namespace kvedit::eval
