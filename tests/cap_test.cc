// A cap on the cache: reading more than it holds, and generating under it.
#include <gtest/gtest.h>

#include <cmath>

#include "session/model_impl.h"
#include "session_testing.h"

namespace kvedit {
namespace {

class CapTest : public testing::TestWithParam<std::string> {
 protected:
  CapTest() {
    ModelOptions options = exact_options();
    options.threads = 1;
    options.block_tokens = 32;
    TinySpec spec = spec_of(GetParam());
    spec.context = 2048;
    model_ = load(spec, options);
    lanes_ = static_cast<size_t>(model_->info().layers) * model_->info().kv_heads;
  }
  std::shared_ptr<Model> model_;
  size_t lanes_;
};

TEST_P(CapTest, ReadsMoreThanItHolds) {
  Session session(model_);
  session.set_cap("snapkv:window=8,recent=8", Budget::tokens(100));
  reset_high_water(*model_);
  session.append_tokens(random_tokens(1500, 1));
  const SessionStats stats = session.stats();
  EXPECT_EQ(stats.tokens, 1500);
  EXPECT_LE(stats.entries, 100 * lanes_);
  EXPECT_TRUE(stats.evicted);
  EXPECT_GE(stats.cap_evictions, (1500 - 100) / 32);
  // The cap and one block, each rounded up to pages.
  const size_t pages = lanes_ * ((100 + 63) / 64 + 1 + (32 + 63) / 64);
  EXPECT_LE(model_->pool().high_water_bytes, pages * model_->pool().page_bytes);
  for (const float x : session.logits()) ASSERT_TRUE(std::isfinite(x));
}

TEST_P(CapTest, EvictsWithTheEngineThatGenerates) {
  Session session = filled(model_, 100);
  session.set_cap("snapkv:window=8,recent=8", Budget::tokens(100));
  session.generate({.max_tokens = 40, .temperature = 3});
  EXPECT_GT(session.stats().cap_evictions, 0);
  EXPECT_EQ(implementation(*model_)->engines(), 1U);
}

TEST_P(CapTest, HoldsWhileGenerating) {
  for (const Budget& budget : {Budget::tokens(120), Budget::bytes(lanes_ * 3 * model_->pool().page_bytes)}) {
    Session session = filled(model_, 100);
    session.set_cap("streaming-llm:recent=16", budget);
    size_t most = 0;
    for (int i = 0; i < 30; i++) {
      session.generate({.max_tokens = 10, .temperature = 3, .seed = static_cast<uint32_t>(i)});
      most = std::max(most, budget.kind == Budget::Kind::bytes ? session.stats().bytes
                                                               : session.stats().entries / lanes_);
    }
    EXPECT_LE(most, budget.amount);
    EXPECT_GT(session.stats().cap_evictions, 1);
    EXPECT_LT(session.stats().cap_evictions, 12) << "in blocks, not at every token";
  }
}

TEST_P(CapTest, AFractionIsOneOfTheWholeTranscript) {
  Session session = filled(model_, 600);
  session.set_cap("snapkv:window=8,recent=8", Budget::fraction(0.25));
  EXPECT_LE(session.stats().entries, 150 * lanes_);
  session.append_tokens(random_tokens(600, 2));
  EXPECT_LE(session.stats().entries, 300 * lanes_);
  EXPECT_GT(session.stats().entries, 200 * lanes_);
  session.clear_cap();
  const size_t before = session.stats().entries;
  session.append_tokens(random_tokens(100, 3));
  EXPECT_EQ(session.stats().entries, before + 100 * lanes_);
}

TEST_P(CapTest, AForkInheritsIt) {
  Session session = filled(model_, 90);
  session.set_cap("snapkv:window=8,recent=8", Budget::tokens(100));
  Session fork = session.fork();
  EXPECT_EQ(fork.stats().cap_policy, session.stats().cap_policy);
  fork.append_tokens(random_tokens(400, 2));
  EXPECT_LE(fork.stats().entries, 100 * lanes_);
  EXPECT_GT(fork.stats().cap_evictions, 0);
  EXPECT_EQ(session.stats().cap_evictions, 0);
  session.clear_cap();
  EXPECT_FALSE(fork.stats().cap_policy.empty()) << "each has its own";
  fork.append_tokens(random_tokens(100, 3));
  EXPECT_LE(fork.stats().entries, 100 * lanes_);
}

TEST_P(CapTest, WhatWasReadBeforeAFailureStays) {
  Session session(model_);
  session.set_cap("snapkv:window=8,recent=8", Budget::tokens(100));
  EXPECT_EQ(code_of([&] {
              session.append_tokens(random_tokens(1000, 1), [](size_t done, size_t) { return done < 300; });
            }),
            ErrorCode::cancelled);
  const int read = session.stats().tokens;
  EXPECT_GT(read, 200);
  EXPECT_LT(read, 400);
  session.append_tokens(random_tokens(50, 2));
  EXPECT_EQ(session.stats().tokens, read + 50);
  EXPECT_EQ(code_of([&] { session.append_tokens(random_tokens(3000, 1)); }), ErrorCode::context_full);
  EXPECT_EQ(session.stats().tokens, read + 50) << "refused before anything is read";
}

TEST_P(CapTest, RefusesWhatCannotBeHeld) {
  Session session = filled(model_, 300);
  const std::string before = snapshot_bytes(session);
  const auto cap = [&](const char* policy, const Budget& budget) {
    return code_of([&] { session.set_cap(policy, budget); });
  };
  EXPECT_EQ(cap("snapkv", Budget::tokens(20)), ErrorCode::out_of_range);
  EXPECT_EQ(cap("snapkv", Budget::bytes(10)), ErrorCode::out_of_range);
  EXPECT_EQ(cap("nothing", Budget::tokens(100)), ErrorCode::not_found);
  EXPECT_EQ(snapshot_bytes(session), before);
  EXPECT_EQ(session.stats().cap_policy, "");
  session.append_tokens(random_tokens(50, 2));
  EXPECT_EQ(session.stats().tokens, 350);
}

INSTANTIATE_TEST_SUITE_P(Architectures, CapTest, testing::Values("llama", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
