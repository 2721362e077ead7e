// Tokens by the public API: enough to write a prompt by hand.
#include <gtest/gtest.h>

#include "session_testing.h"

namespace kvedit {
namespace {

constexpr const char* kText = "The ferry leaves at eight;  ümlauts, too.\nIt returns at six.";

class ModelTokensTest : public testing::TestWithParam<bool> {
 protected:
  ModelTokensTest() {
    TinySpec spec;
    spec.sentencepiece = GetParam();
    spec.edit = [](gguf_context* file) { begin_every_text(file); };
    model_ = load(spec, exact_options());
  }
  std::shared_ptr<Model> model_;
};

TEST_P(ModelTokensTest, PiecesBehindOneAnotherAreTheText) {
  const std::vector<Token> tokens = model_->tokenize(kText);
  std::string text;
  Token behind = kNoToken;
  for (const Token token : tokens) {
    text += model_->piece(token, behind);
    behind = token;
  }
  EXPECT_EQ(text, kText);
  EXPECT_EQ(model_->detokenize(tokens), kText);
}

// The begin token in front, then parts that go on: the tokens that a session makes of the whole.
TEST_P(ModelTokensTest, PartsBehindTheBeginTokenAreTheTokensOfASession) {
  ASSERT_TRUE(model_->begin_token().has_value());
  std::vector<Token> tokens = {*model_->begin_token()};
  const TextPart parts[] = {{"The ferry lea", false}, {"ves at eight.", false}};
  const std::vector<Token> more = model_->tokenize(parts, tokens.back());
  tokens.insert(tokens.end(), more.begin(), more.end());
  Session session(model_);
  session.append("The ferry leaves at eight.");
  EXPECT_EQ(session.tokens(), tokens);
}

TEST_P(ModelTokensTest, ControlTokensAreNotPlainText) {
  const std::string name = GetParam() ? "</s>" : "<|im_end|>";
  const TextPart format[] = {{name, true}}, plain[] = {{name, false}};
  const std::vector<Token> control = model_->tokenize(format, kNoToken);
  ASSERT_FALSE(control.empty());
  EXPECT_TRUE(model_->is_control(control.back()));
  EXPECT_EQ(model_->piece(control.back()), name);
  for (const Token token : model_->tokenize(plain, kNoToken)) EXPECT_FALSE(model_->is_control(token));
  EXPECT_FALSE(model_->is_end(model_->tokenize("a").back()));
}

TEST_P(ModelTokensTest, ATokenOutsideTheVocabularyIsNamed) {
  const Token most = model_->info().vocabulary;
  for (const Token token : {Token{-5}, most}) {
    EXPECT_EQ(code_of([&] { model_->piece(token); }), ErrorCode::out_of_range) << token;
    EXPECT_EQ(code_of([&] { model_->is_end(token); }), ErrorCode::out_of_range) << token;
    EXPECT_EQ(code_of([&] { model_->is_control(token); }), ErrorCode::out_of_range) << token;
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, ModelTokensTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "sentencepiece" : "bpe"; });

}  // namespace
}  // namespace kvedit
