// What a context promises: check() finds each thing that does not agree, and the moves of an edit leave
// nothing of the kind.
#include "context/context.h"

#include <gtest/gtest.h>

#include "context/edit.h"
#include "session/model_impl.h"
#include "session_testing.h"

namespace kvedit {
namespace {

class ContextTest : public testing::TestWithParam<std::string> {
 protected:
  ContextTest() : model_(implementation(*load(spec_of(GetParam()), exact_options()))) {}

  // A context of these tokens, read from the first.
  Context read(std::span<const Token> tokens) {
    const ModelImpl::Lease engine(*model_);
    Edit edit(model_->new_context(), *engine);
    edit.rebuild_as(tokens, 0);
    return std::move(edit).finish();
  }

  // All but rounding: sums of other blocks are grouped differently.
  void expect_fresh(const Context& context) {
    const ModelImpl::Lease engine(*model_);
    const Token last = context.transcript.tokens.back();
    const auto next = [&](const Context& c) { return c.look_ahead(*engine, {&last, 1}); };
    const Context fresh = read(context.transcript.tokens);
    EXPECT_TRUE(context.all_exact());
    EXPECT_LT(divergence(next(fresh), next(context), model_->info().vocabulary).mean, 1e-8);
  }

  std::shared_ptr<ModelImpl> model_;
};

std::string fault_of(const Context& context) {
  try {
    context.check("test");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    return std::string(error.message());
  }
}

TEST_P(ContextTest, CheckNamesWhatDoesNotAgree) {
  const Context whole = read(random_tokens(40, 1));
  ASSERT_EQ(fault_of(whole), "");
  const auto broken = [&](const std::function<void(Context&)>& damage) {
    Context copy = whole.fork();
    damage(copy);
    return fault_of(copy);
  };
  const auto expect = [&](const std::string& words, const std::function<void(Context&)>& damage) {
    EXPECT_NE(broken(damage).find(words), std::string::npos) << words << ": " << broken(damage);
  };
  expect("40 tokens and 39 positions", [](Context& c) { c.transcript.positions.pop_back(); });
  expect("outside the vocabulary", [](Context& c) { c.transcript.tokens[3] = 1 << 20; });
  expect("out of order", [](Context& c) { c.transcript.positions[3] = 3000; });
  expect("exact prefix of 41", [](Context& c) { c.exact = 41; });
  expect("in an evicted cache", [](Context& c) { c.evicted = true; });
  expect("the last at position 40", [](Context& c) { c.transcript.positions[39]++; });
  expect("steering states", [](Context& c) { c.transcript.steered = {7}; });
  expect("message 0 begins at token 40", [](Context& c) { c.transcript.messages = {{"user", 40}}; });
  expect("message 1 begins at token 5", [](Context& c) {
    c.transcript.messages = {{"user", 5}, {"user", 5}};
  });
  expect("begin token", [](Context& c) {
    c.begin_token = c.transcript.tokens[0];
    c.transcript.messages = {{"user", 0}};
  });
  expect("lane 0/0 holds 38 of 39", [](Context& c) { c.cache.remove({7, 8}); });
  expect("positions that the transcript does not have", [](Context& c) {
    const Position pending = 39;
    c.cache.append({&pending, 1});
  });
}

TEST_P(ContextTest, WhatIsInsertedBehindTheTextEqualsAFreshReading) {
  const std::vector<Token> all = random_tokens(60, 2);
  const ModelImpl::Lease engine(*model_);
  Edit edit(read(std::span(all).first(40)), *engine);
  edit.insert(std::vector<Insertion>{{40, std::span(all).subspan(40)}});
  const Context context = std::move(edit).finish();
  EXPECT_EQ(context.transcript.tokens, all);
  expect_fresh(context);
}

// In front of the pending token, and behind it, in one call.
TEST_P(ContextTest, InsertsAroundThePendingToken) {
  const std::vector<Token> all = random_tokens(60, 3);
  std::vector<Token> without(all.begin(), all.begin() + 30);
  without.push_back(all[40]);
  const ModelImpl::Lease engine(*model_);
  Edit edit(read(without), *engine);
  edit.insert(std::vector<Insertion>{{30, std::span(all).subspan(30, 10)}, {31, std::span(all).subspan(41)}});
  const Context context = std::move(edit).finish();
  EXPECT_EQ(context.transcript.tokens, all);
  expect_fresh(context);
}

TEST_P(ContextTest, TruncatedAndReadOnEqualsAFreshReading) {
  const std::vector<Token> all = random_tokens(50, 4);
  const ModelImpl::Lease engine(*model_);
  Edit edit(read(all), *engine);
  edit.truncate(20);
  EXPECT_EQ(edit.context().exact, 20);
  edit.insert(std::vector<Insertion>{{20, std::span(all).subspan(20)}});
  expect_fresh(std::move(edit).finish());
}

TEST_P(ContextTest, InsertingPastTheContextThrowsAndNamesBothNumbers) {
  const int limit = model_->network().hparams().context_length;
  const ModelImpl::Lease engine(*model_);
  Edit edit(read(random_tokens(40, 5)), *engine, {.where = "sync"});
  const std::vector<Token> more = random_tokens(limit, 6);
  try {
    edit.insert(std::vector<Insertion>{{10, more}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::context_full);
    EXPECT_EQ(error.where(), "sync");
    EXPECT_NE(error.message().find(std::to_string(limit)), std::string::npos);
  }
}

// Tokens that stand in front of a message's first one are that message's.
TEST_P(ContextTest, MessagesFollowWhatIsInserted) {
  const std::vector<Token> more = random_tokens(4, 7);
  Context context = read(random_tokens(30, 8));
  context.transcript.messages = {{"user", 5}, {"assistant", 12}, {"user", 20}};
  const ModelImpl::Lease engine(*model_);
  Edit edit(std::move(context), *engine);
  edit.insert(std::vector<Insertion>{{12, more}});
  const Context now = std::move(edit).finish();
  EXPECT_EQ(now.transcript.message(0), (Span{5, 12}));
  EXPECT_EQ(now.transcript.message(1), (Span{12, 24}));
  EXPECT_EQ(now.transcript.message(2), (Span{24, 34}));
}

INSTANTIATE_TEST_SUITE_P(Architectures, ContextTest, testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace kvedit
