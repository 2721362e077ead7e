// Upgrade: an approximate cache becomes exact in the background while its session goes on.
#include <gtest/gtest.h>

#include <thread>

#include "session/model_impl.h"
#include "session_testing.h"

namespace kvedit {
namespace {

// One thread a session and one in the background: clean under TSan, whose ggml is instrumented too.
std::shared_ptr<Model> model_of(const std::string& architecture) {
  ModelOptions options = exact_options();
  options.threads = 1;
  return load(spec_of(architecture), options);
}

constexpr UpgradeOptions kBackground{.threads = 1, .block_tokens = 8};

class UpgradeTest : public testing::TestWithParam<std::string> {
 protected:
  UpgradeTest() : model_(model_of(GetParam())), eraser_(random_eraser(*model_)) {}
  Session erased(const std::string& method) const {
    Session session = filled(model_);
    session.erase(Span{20, 60}, {.method = method, .adapter = eraser_});
    return session;
  }
  void expect_exact(Session& session) const {
    Session exact = fresh(model_, session.tokens());
    EXPECT_EQ(session.positions(), exact.positions());
    EXPECT_EQ(session.stats().exact_tokens, session.stats().tokens);
    EXPECT_EQ(session.stats().steered_tokens, 0);
    const Divergence d = from(exact, session);
    EXPECT_LT(d.mean, 1e-6) << d;
    EXPECT_LT(d.relative, 1e-4) << d;
  }
  std::shared_ptr<Model> model_;
  std::shared_ptr<const Adapter> eraser_;
};

TEST_P(UpgradeTest, EqualsRecomputeAfterEveryMethod) {
  for (const EraseMethodInfo& method : erase_methods()) {
    Session session = erased(method.name);
    session.upgrade(kBackground);
    const UpgradeStatus status = session.finish_upgrade();
    EXPECT_EQ(status.state, UpgradeState::done) << status.error;
    EXPECT_LT(status.tokens_caught_up, kBackground.block_tokens + 1);
    expect_exact(session);
    EXPECT_EQ(session.upgrade_status().state, UpgradeState::done);
    session.undo();  // the erase, not the upgrade
    Session before = filled(model_);
    EXPECT_EQ(snapshot_bytes(session), snapshot_bytes(before));
  }
}

TEST_P(UpgradeTest, FollowsWhatIsAppendedGeneratedAndErasedMeanwhile) {
  Session session = erased("steer");
  session.upgrade(kBackground);
  session.append_tokens(random_tokens(40, 2));
  session.generate({.max_tokens = 12, .temperature = 5});
  session.logits();
  session.erase(Span{100, 130}, {.method = "drop"});
  session.append_tokens(random_tokens(30, 3));
  session.generate({.max_tokens = 5, .temperature = 5});
  if (session.upgrade_status().state != UpgradeState::done) session.finish_upgrade();
  // Appended after the swap or before, all of it is exact at the end.
  if (session.stats().exact_tokens != session.stats().tokens) {
    session.upgrade(kBackground);
    session.finish_upgrade();
  }
  expect_exact(session);
}

TEST_P(UpgradeTest, IsSwappedInByALaterCall) {
  Session session = erased("shift");
  session.upgrade(kBackground);
  while (session.upgrade_status().state == UpgradeState::running) std::this_thread::yield();
  EXPECT_EQ(session.upgrade_status().state, UpgradeState::ready);
  session.generate({.max_tokens = 3});
  EXPECT_EQ(session.upgrade_status().state, UpgradeState::done);
  expect_exact(session);
}

TEST_P(UpgradeTest, CancellingCostsNothing) {
  Session session = erased("drop");
  const std::string before = snapshot_bytes(session);
  const size_t in_use = model_->pool().bytes_in_use;
  session.upgrade(kBackground);
  session.cancel_upgrade();
  EXPECT_EQ(session.upgrade_status().state, UpgradeState::cancelled);
  EXPECT_EQ(snapshot_bytes(session), before);
  EXPECT_EQ(model_->pool().bytes_in_use, in_use);
  session.upgrade(kBackground);
  { const Session gone = std::move(session); }  // ends with its session
  EXPECT_EQ(model_->pool().bytes_in_use, 0U);
}

TEST_P(UpgradeTest, OfAnEvictedCacheEvictsAgain) {
  Session session = erased("steer");
  session.evict("random", Budget::fraction(0.5));
  session.upgrade(kBackground);
  session.finish_upgrade();
  EXPECT_TRUE(session.stats().evicted);
  Session exact = fresh(model_, session.tokens());
  exact.evict("random", Budget::fraction(0.5));
  EXPECT_LT(from(exact, session).relative, 1e-4);
}

TEST_P(UpgradeTest, AFailureLeavesTheSessionAsItWas) {
  Session session = erased("drop");
  const std::string before = snapshot_bytes(session);
  auto& pool = *implementation(*model_)->page_pool();
  pool.set_limit(pool.stats().bytes_in_use + 6 * pool.page_bytes());
  session.upgrade(kBackground);
  EXPECT_EQ(code_of([&] { session.finish_upgrade(); }), ErrorCode::no_memory);
  EXPECT_EQ(session.upgrade_status().state, UpgradeState::failed);
  EXPECT_NE(session.upgrade_status().error, "");
  pool.set_limit(0);
  EXPECT_EQ(snapshot_bytes(session), before);
  EXPECT_EQ(code_of([&] { session.finish_upgrade(); }), ErrorCode::not_found);
}

INSTANTIATE_TEST_SUITE_P(Architectures, UpgradeTest, testing::Values("llama", "gemma3"),
                         [](const auto& info) { return info.param; });

TEST(UpgradeThreadsTest, SessionsUpgradeSideBySide) {
  const auto model = model_of("qwen3");
  Session parent = filled(model);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; i++) {
    auto child = std::make_shared<Session>(parent.fork());
    threads.emplace_back([child, i] {
      child->erase(Span{10, 20 + i}, {.method = "shift"});
      child->upgrade(kBackground);
      child->append_tokens(random_tokens(20, 4));
      child->generate({.max_tokens = 6});
      if (child->upgrade_status().state != UpgradeState::done) child->finish_upgrade();
    });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace
}  // namespace kvedit
