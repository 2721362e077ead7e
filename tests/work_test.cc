// Work in steps and batches of it: the same as the blocking calls, whoever else takes part.
#include "kvedit/work.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "session_testing.h"

namespace kvedit {
namespace {

std::shared_ptr<Model> batching_model(const std::string& architecture) {
  ModelOptions options = exact_options();
  options.threads = 1;  // clean under TSan
  options.block_tokens = 32;
  return load(spec_of(architecture), options);
}

Cancel requested() {
  std::stop_source source;
  source.request_stop();
  return {.token = source.get_token()};
}

Cancel late() { return {.token = {}, .deadline = std::chrono::steady_clock::now()}; }

class WorkTest : public testing::TestWithParam<std::string> {
 protected:
  WorkTest() : model_(batching_model(GetParam())), eraser_(random_eraser(*model_)) {}
  // Rows of other blocks are the same up to how a product of this many rows is summed.
  void expect_same(Session& one, Session& other, const std::string& what) const {
    EXPECT_EQ(one.tokens(), other.tokens()) << what;
    EXPECT_EQ(one.positions(), other.positions()) << what;
    EXPECT_EQ(one.stats().entries, other.stats().entries) << what;
    EXPECT_EQ(one.stats().exact_tokens, other.stats().exact_tokens) << what;
    const Divergence d = from(one, other);
    EXPECT_LT(d.mean, 1e-7) << what << " " << d;
    EXPECT_LT(d.relative, 1e-4) << what << " " << d;
  }
  void expect_free(Session& session) const { EXPECT_NO_THROW(session.tokens()); }

  std::shared_ptr<Model> model_;
  std::shared_ptr<const Adapter> eraser_;
};

TEST_P(WorkTest, StepsEndWhereTheCallEnds) {
  const std::vector<Token> more = random_tokens(150, 5);
  Session called = filled(model_), stepped = filled(model_);
  called.append_tokens(more);
  Task<AppendReport> append = stepped.start_append_tokens(more);
  int steps = 0;
  while (append.step()) steps++;
  EXPECT_EQ(steps, 4);  // blocks of 32 tokens, the last in the step that ends it
  EXPECT_EQ(append.finish().tokens, (Span{200, 350}));
  EXPECT_TRUE(View(called) == View(stepped));

  const GenerateOptions options{.max_tokens = 7, .temperature = 3, .seed = 9};
  const Generation made = called.generate(options);
  Task<Generation> generate = stepped.start_generate(options);
  for (steps = 1; generate.step();) steps++;
  EXPECT_EQ(steps, made.tokens.size());
  EXPECT_EQ(generate.finish().tokens, made.tokens);
  EXPECT_TRUE(View(called) == View(stepped));
}

TEST_P(WorkTest, EveryCallInABatchDoesWhatItDoesAlone) {
  const Session start = filled(model_);
  const std::vector<Token> more = random_tokens(90, 5);
  const std::vector<Message> talk = {{"user", "what the pots said"}, {"assistant", "nothing"}};
  std::vector<Session> alone, batched;
  for (int i = 0; i < 8; i++) {
    alone.push_back(start.fork());
    batched.push_back(start.fork());
  }
  const EraseOptions steer{.method = "steer", .adapter = eraser_};
  const SyncOptions in_place{.method = "drop"};
  alone[6].append_messages(talk, true);
  batched[6].append_messages(talk, true);
  const std::vector<Message> now = {{"user", "what pots said"}, {"assistant", "nothing"}};

  alone[0].append_tokens(more);
  const Generation made = alone[1].generate({.max_tokens = 20, .temperature = 2, .seed = 4});
  alone[2].erase(Span{30, 60}, {.method = "mend:window=10,tail=10"});
  alone[3].erase(Span{30, 60});
  alone[4].erase(Span{30, 60}, steer);
  const EvictReport evicted = alone[5].evict("snapkv:window=8,recent=8", Budget::fraction(0.5));
  alone[6].sync(now, in_place);
  const VerifyReport verified = alone[4].verify();
  alone[7].evict("h2o:recent=8", Budget::tokens(100));

  Batch batch(model_, {.block_tokens = 24});
  auto append = batched[0].start_append_tokens(more);
  auto generate = batched[1].start_generate({.max_tokens = 20, .temperature = 2, .seed = 4});
  auto mend = batched[2].start_erase({{30, 60}}, {.method = "mend:window=10,tail=10"});
  auto recompute = batched[3].start_erase({{30, 60}});
  auto steered = batched[4].start_erase({{30, 60}}, steer);
  auto evict = batched[5].start_evict("snapkv:window=8,recent=8", Budget::fraction(0.5));
  auto sync = batched[6].start_sync(now, in_place);
  auto two_passes = batched[7].start_evict("h2o:recent=8", Budget::tokens(100));
  for (const Work* work :
       {static_cast<Work*>(&append), static_cast<Work*>(&generate), static_cast<Work*>(&mend),
        static_cast<Work*>(&recompute), static_cast<Work*>(&steered), static_cast<Work*>(&evict),
        static_cast<Work*>(&sync), static_cast<Work*>(&two_passes)})
    batch.add(*work);
  int most = 0;
  while (batch.step()) {
    EXPECT_LE(batch.last().tokens, 24);
    most = std::max(most, batch.last().works);
  }
  EXPECT_GE(most, 6);
  EXPECT_EQ(generate.finish().tokens, made.tokens);
  append.finish(), mend.finish(), recompute.finish(), steered.finish(), sync.finish(), two_passes.finish();
  EXPECT_EQ(evict.finish().keep, evicted.keep);
  const VerifyReport again = batched[4].start_verify().finish();
  EXPECT_NEAR(again.mean_kl, verified.mean_kl, 1e-5 * verified.mean_kl + 1e-9);
  for (size_t i = 0; i < alone.size(); i++) expect_same(alone[i], batched[i], "work " + std::to_string(i));
}

TEST_P(WorkTest, GenerationTakesPartInEveryBlock) {
  Session reading = filled(model_), talking = filled(model_, 40, 2);
  Batch batch(model_, {.block_tokens = 16});
  auto erase = reading.start_erase({{10, 20}});
  int tokens = 0;
  auto generate = talking.start_generate({.max_tokens = 8, .temperature = 4});
  batch.add(erase);
  batch.add(generate);
  while (!generate.done()) {
    batch.step();
    EXPECT_EQ(batch.last().works, 2);
    EXPECT_EQ(batch.last().tokens, 16);
    tokens++;
  }
  EXPECT_EQ(tokens, 8);
  EXPECT_FALSE(erase.done());
  EXPECT_EQ(code_of([&] { erase.finish(); }), ErrorCode::busy);
  while (batch.step()) {
  }
  EXPECT_EQ(erase.finish().tokens_erased, 10);
}

TEST_P(WorkTest, BackgroundWorkTakesWhatIsLeft) {
  Session reading = filled(model_), upgrading = filled(model_, 200, 2);
  upgrading.erase(Span{10, 20}, {.method = "drop"});
  Batch batch(model_, {.block_tokens = 40});
  auto append = reading.start_append_tokens(random_tokens(100, 3));
  auto upgrade = upgrading.start_upgrade({.block_tokens = 32});
  batch.add(upgrade, Priority::background);
  batch.add(append);
  batch.step();
  batch.step();
  EXPECT_EQ(upgrading.upgrade_status().tokens_read, 0);
  EXPECT_EQ(upgrading.upgrade_status().state, UpgradeState::running);
  EXPECT_EQ(code_of([&] { upgrading.finish_upgrade(); }), ErrorCode::busy);
  upgrading.generate({.max_tokens = 3, .temperature = 4});  // its session is free
  while (batch.step()) {
  }
  EXPECT_EQ(append.finish().tokens.size(), 100);
  EXPECT_EQ(upgrade.finish().state, UpgradeState::ready);
  EXPECT_EQ(upgrading.finish_upgrade().state, UpgradeState::done);
  Session exact = fresh(model_, upgrading.tokens());
  expect_same(exact, upgrading, "upgrade");
}

TEST_P(WorkTest, AnUpgradeInStepsEndsWithItsSessionsCancel) {
  Session session = filled(model_);
  session.erase(Span{10, 20}, {.method = "drop"});
  auto upgrade = session.start_upgrade({.block_tokens = 8});
  upgrade.step();
  upgrade.step();
  session.cancel_upgrade();
  EXPECT_EQ(session.upgrade_status().state, UpgradeState::cancelled);
  EXPECT_EQ(code_of([&] { upgrade.finish(); }), ErrorCode::cancelled);
  auto other = session.start_upgrade({.block_tokens = 8});
  other.step();
  session.upgrade({.threads = 1});
  EXPECT_EQ(code_of([&] { other.finish(); }), ErrorCode::cancelled);
  EXPECT_EQ(session.finish_upgrade().state, UpgradeState::done);
}

TEST_P(WorkTest, GivenUpItChangesNothing) {
  Session session = filled(model_);
  const View before(session);
  {
    auto never_begun = session.start_append("more");
    auto append = session.start_append_tokens(random_tokens(100, 2));
    append.step();
    EXPECT_EQ(code_of([&] { session.tokens(); }), ErrorCode::busy);
  }
  EXPECT_TRUE(View(session) == before);
  {
    Batch batch(model_, {.block_tokens = 16});
    auto erase = session.start_erase({{5, 9}});
    batch.add(erase);
    batch.step();
    EXPECT_EQ(code_of([&] { erase.step(); }), ErrorCode::busy);
  }
  EXPECT_TRUE(View(session) == before);
  Batch batch(model_);
  std::optional<Task<AppendReport>> gone = session.start_append_tokens(random_tokens(300, 2));
  batch.add(*gone);
  EXPECT_TRUE(batch.step());
  gone.reset();
  EXPECT_FALSE(batch.step());
  EXPECT_TRUE(View(session) == before);
}

TEST_P(WorkTest, GenerationGivenUpKeepsItsTokens) {
  Session session = filled(model_);
  {
    auto generate = session.start_generate({.max_tokens = 50, .temperature = 4});
    for (int i = 0; i < 3; i++) generate.step();
  }
  EXPECT_EQ(session.stats().tokens, 203);
}

TEST_P(WorkTest, IsCancelledByTokenAndDeadline) {
  Session session = filled(model_);
  const View before(session);
  const std::vector<Message> talk = {{"user", "hello"}};
  for (const Cancel& cancel : {requested(), late()}) {
    const std::vector<std::function<void()>> calls = {
        [&] { session.append("more text", false, {}, cancel); },
        [&] { session.append_messages(talk, true, {}, cancel); },
        [&] { session.generate({.cancel = cancel}); },
        [&] {
          session.erase(Span{5, 9}, {.cancel = cancel});
        },
        [&] {
          session.erase(Span{5, 9}, {.method = "mend", .cancel = cancel});
        },
        [&] { session.verify({.cancel = cancel}); },
        [&] { session.sync(talk, {.cancel = cancel}); },
        [&] { session.evict("snapkv:window=8,recent=8", Budget::fraction(0.5), {.cancel = cancel}); },
        [&] { session.save(temporary_path("cancelled.kv"), cancel); },
        [&] { model_->format(talk, true, cancel); }};
    for (size_t i = 0; i < calls.size(); i++) EXPECT_EQ(code_of(calls[i]), ErrorCode::cancelled) << i;
    EXPECT_TRUE(View(session) == before);
  }
  session.save(temporary_path("kept.kv"));
  EXPECT_EQ(code_of([&] { Session::load(model_, temporary_path("kept.kv"), {}, requested()); }),
            ErrorCode::cancelled);
  Session::load(model_, temporary_path("kept.kv"));
}

TEST_P(WorkTest, AnotherThreadCancelsOneOfABatch) {
  Session first = filled(model_), second = filled(model_, 200, 2);
  const View before(first);
  std::stop_source source;
  auto cancelled = first.start_append_tokens(random_tokens(200, 3), {.token = source.get_token()});
  auto generate = second.start_generate({.max_tokens = 60, .temperature = 4});
  Batch batch(model_, {.block_tokens = 4});
  batch.add(cancelled);
  batch.add(generate);
  batch.step();
  std::thread other([&] { source.request_stop(); });
  while (!cancelled.done()) batch.step();
  other.join();
  EXPECT_EQ(code_of([&] { cancelled.finish(); }), ErrorCode::cancelled);
  while (batch.step()) {
  }
  EXPECT_EQ(generate.finish().tokens.size(), 60U);
  EXPECT_TRUE(View(first) == before);
}

TEST_P(WorkTest, ACancelledStepIsTakenAgain) {
  Session session = filled(model_), called = filled(model_);
  auto append = session.start_append_tokens(random_tokens(100, 2));
  called.append_tokens(random_tokens(100, 2));
  Batch batch(model_);
  batch.add(append);
  EXPECT_EQ(code_of([&] { batch.step(late()); }), ErrorCode::cancelled);
  while (batch.step()) {
  }
  append.finish();
  expect_same(called, session, "append");
}

TEST_P(WorkTest, WhatFailsEndsAlone) {
  Session full = filled(model_, 500), fine = filled(model_, 100, 2);
  const Session limited_by = filled(model_);
  Session limited(model_, {.byte_limit = limited_by.stats().bytes});
  limited.append_tokens(random_tokens(20, 1));
  Batch batch(model_);
  auto too_long = full.start_append_tokens(random_tokens(100, 2));
  auto too_large = limited.start_append_tokens(random_tokens(400, 2));
  auto not_there = fine.start_erase({{5, 9}}, {.method = "nothing"});
  for (const Work* work :
       {static_cast<Work*>(&too_long), static_cast<Work*>(&too_large), static_cast<Work*>(&not_there)})
    batch.add(*work);
  batch.step();
  auto append = fine.start_append_tokens(random_tokens(50, 2));
  batch.add(append);
  while (batch.step()) {
  }
  EXPECT_EQ(append.finish().tokens, (Span{100, 150}));
  EXPECT_EQ(code_of([&] { too_long.finish(); }), ErrorCode::context_full);
  EXPECT_EQ(code_of([&] { too_large.finish(); }), ErrorCode::no_memory);
  EXPECT_EQ(code_of([&] { not_there.finish(); }), ErrorCode::not_found);
  expect_free(full);
  EXPECT_EQ(limited.stats().tokens, 20);
}

TEST_P(WorkTest, ABlockOfOneTokenIsEnough) {
  Session session = filled(model_), other = filled(model_);
  auto repair = session.start_erase({{20, 30}}, {.method = "repair:window=5,tail=0"});
  Batch batch(model_, {.block_tokens = 1});
  batch.add(repair);
  int steps = 1;
  while (batch.step()) ASSERT_LT(steps++, 20);
  EXPECT_EQ(steps, 5);
  other.erase(Span{20, 30}, {.method = "repair:window=5,tail=0"});
  expect_same(other, session, "repair");
}

TEST_P(WorkTest, BatchesRefuseWhatIsNotTheirs) {
  Session session = filled(model_);
  const auto other_model = batching_model(GetParam());
  Session other(other_model);
  EXPECT_EQ(code_of([&] { Batch(model_, {.block_tokens = 0}); }), ErrorCode::out_of_range);
  EXPECT_EQ(code_of([&] { Batch(model_, {.block_tokens = 1 << 17}); }), ErrorCode::out_of_range);
  EXPECT_EQ(code_of([&] { Batch(nullptr); }), ErrorCode::invalid_argument);
  Batch batch(model_);
  auto append = session.start_append("a");
  auto elsewhere = other.start_append("a");
  batch.add(append);
  EXPECT_EQ(code_of([&] { batch.add(append); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { batch.add(elsewhere); }), ErrorCode::invalid_argument);
  EXPECT_FALSE(batch.step());  // done in one block
  EXPECT_EQ(batch.last().works, 1);
  EXPECT_FALSE(Batch(model_).step());
}

TEST_P(WorkTest, OutlivesItsSession) {
  std::optional<Session> session = filled(model_);
  auto generate = session->start_generate({.max_tokens = 5, .temperature = 4});
  generate.step();
  session.reset();
  EXPECT_EQ(generate.finish().tokens.size(), 5U);
  EXPECT_EQ(model_->pool().bytes_in_use, 0U);
}

INSTANTIATE_TEST_SUITE_P(Architectures, WorkTest, testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
