// Logits of a continuation that is not appended.
#include <gtest/gtest.h>

#include "session_testing.h"

namespace kvedit {
namespace {

class LookAheadTest : public testing::TestWithParam<std::string> {
 protected:
  LookAheadTest() : model_(load(spec_of(GetParam()), exact_options())) {}
  std::shared_ptr<Model> model_;
};

TEST_P(LookAheadTest, EqualsAppendingTokenByToken) {
  Session session = filled(model_);
  session.evict("snapkv", Budget::fraction(0.5));  // lanes are what this cache holds, not the whole text
  const std::vector<Token> next = random_tokens(70, 5);  // more than a block
  const std::vector<float> all = session.logits_after(next);
  const size_t vocabulary = model_->info().vocabulary;
  ASSERT_EQ(all.size(), (next.size() + 1) * vocabulary);
  Session steps = session.fork();
  for (size_t i = 0; i <= next.size(); i++) {
    const auto row = std::span(all).subspan(i * vocabulary, vocabulary);
    // Sums of one token and of a block are grouped differently.
    EXPECT_LT(divergence(steps.logits(), row, static_cast<int>(vocabulary)).mean, 1e-8) << "token " << i;
    if (i < next.size()) steps.append_tokens({&next[i], 1});
  }
}

TEST_P(LookAheadTest, ChangesNothing) {
  Session session = filled(model_);
  const std::string before = snapshot_bytes(session);
  session.logits_after(random_tokens(20, 3));
  EXPECT_EQ(snapshot_bytes(session), before);
}

TEST_P(LookAheadTest, RefusesWhatHasNoRoomOrNoBeginning) {
  const Session session = filled(model_, 200);
  const int room = model_->info().context_length - 200;
  EXPECT_NO_THROW(session.logits_after(random_tokens(room, 3)));
  EXPECT_EQ(code_of([&] { session.logits_after(random_tokens(room + 1, 3)); }), ErrorCode::context_full);
  const Session empty(model_);
  EXPECT_EQ(code_of([&] { empty.logits_after(random_tokens(1, 3)); }), ErrorCode::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Architectures, LookAheadTest, testing::Values("llama", "gemma3"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace kvedit
