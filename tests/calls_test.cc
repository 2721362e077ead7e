// Calls that spare their callers a detour: erasing by text and by message, plans, truncating, redo, limits of
// work, and a state that can always be asked for.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <thread>

#include "cache/page_data.h"
#include "session_testing.h"

namespace kvedit {
namespace {

class CallsTest : public testing::TestWithParam<std::string> {
 protected:
  CallsTest() : model_(model()), eraser_(random_eraser(*model_)) {}
  static std::shared_ptr<Model> model() {
    ModelOptions options = exact_options();
    options.threads = 1;  // clean under TSan
    return load(spec_of(GetParam()), options);
  }
  Session talk() const {
    Session session(model_);
    const std::vector<Message> messages = {{"system", "be brief"},
                                           {"user", "the code is 4711"},
                                           {"assistant", "fine"},
                                           {"user", "and again: the code is 4711 here"}};
    session.append_messages(messages, true);
    return session;
  }
  std::shared_ptr<Model> model_;
  std::shared_ptr<const Adapter> eraser_;
};

TEST_P(CallsTest, ATextIsErasedWhereverItStands) {
  Session by_text = talk(), by_span = talk();
  std::vector<Span> spans;
  for (const Found& found : by_span.find("the code is 4711")) spans.push_back(found.tokens);
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(by_text.erase_text("the code is 4711").spans, spans);
  by_span.erase(spans);
  EXPECT_TRUE(View(by_text) == View(by_span));
  EXPECT_EQ(code_of([&] { by_text.erase_text("the code is 4711"); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { by_text.erase_text(""); }), ErrorCode::invalid_argument);
  EXPECT_GT(by_text.erase_text("BE  BRIEF", {}, {.loose = true}).tokens_erased, 0);
}

TEST_P(CallsTest, AMessageIsErasedByItsPlace) {
  Session by_message = talk(), by_span = talk();
  const Span second = by_span.message("user", 2).tokens;
  EXPECT_EQ(by_message.erase_message("user", -1, {.method = "drop"}).spans, std::vector<Span>{second});
  by_span.erase(second, {.method = "drop"});
  EXPECT_TRUE(View(by_message) == View(by_span));
  EXPECT_EQ(code_of([&] { by_message.erase_message("user", 2); }), ErrorCode::not_found);
}

TEST_P(CallsTest, APlanIsWhatTheEraseReports) {
  for (const EraseMethodInfo& method : erase_methods()) {
    for (const bool evicted : {false, true}) {
      Session session = filled(model_);
      if (evicted) session.evict("snapkv:window=8,recent=8", Budget::fraction(0.6));
      const EraseOptions options{.method = with_window(method.name, 12), .adapter = eraser_};
      const std::vector<Span> spans = {{90, 100}, {20, 40}};
      const View before(session);
      const EraseReport plan = session.plan(spans, options);
      EXPECT_TRUE(View(session) == before) << method.name;
      const EraseReport report = session.erase(spans, options);
      EXPECT_EQ(plan.tokens_recomputed, report.tokens_recomputed) << method.name << evicted;
      EXPECT_EQ(plan.tokens_erased, report.tokens_erased);
      EXPECT_EQ(plan.spans, report.spans);
      EXPECT_EQ(plan.exactness, report.exactness);
      EXPECT_EQ(plan.positions_changed, report.positions_changed);
      EXPECT_EQ(plan.text, report.text);
      EXPECT_EQ(plan.repeated.size(), report.repeated.size());
      EXPECT_EQ(plan.ms, 0);
      if (!evicted || method.exactness != Exactness::exact) {
        EXPECT_EQ(plan.bytes_after, report.bytes_after) << method.name;
        EXPECT_EQ(plan.note, report.note);
      }
    }
  }
}

TEST_P(CallsTest, APlanTellsWhyAnEraseIsRefused) {
  const Session session = filled(model_);
  const auto code = [&](const std::vector<Span>& spans, const EraseOptions& options) {
    return code_of([&] { session.plan(spans, options); });
  };
  EXPECT_EQ(code({{5, 900}}, {}), ErrorCode::out_of_range);
  EXPECT_EQ(code({{5, 9}}, {.method = "steer"}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({{5, 9}}, {.method = "none"}), ErrorCode::not_found);
  EXPECT_EQ(code({}, {}), ErrorCode::invalid_argument);
}

TEST_P(CallsTest, WorkBeyondItsLimitIsRefused) {
  Session session = filled(model_);
  const View before(session);
  EXPECT_EQ(code_of([&] { session.erase(Span{10, 20}, {.max_forwarded = 50}); }), ErrorCode::out_of_range);
  EXPECT_TRUE(View(session) == before);
  EXPECT_EQ(session.erase(Span{10, 20}, {.method = "drop", .max_forwarded = 0}).tokens_recomputed, 0);
  EXPECT_EQ(session.erase(Span{150, 160}, {.max_forwarded = 200}).tokens_erased, 10);

  Session talking = talk();
  const View said(talking);
  const std::vector<Message> now = {{"system", "be long"}, {"user", "the code is 4711"}};
  EXPECT_EQ(code_of([&] { talking.sync(now, {.max_forwarded = 2}); }), ErrorCode::out_of_range);
  EXPECT_TRUE(View(talking) == said);
  const SyncReport report = talking.sync(now, {.method = "drop", .max_forwarded = 40});
  EXPECT_LE(report.read + report.recomputed, 40);
  EXPECT_EQ(talking.messages().size(), 3U);
}

TEST_P(CallsTest, ASyncCanForget) {
  Session session = talk();
  session.erase(session.find("4711")[0].tokens, {.method = "drop"});
  session.sync(std::vector<Message>{{"system", "be brief"}}, {.method = "drop", .forget = true});
  EXPECT_EQ(session.stats().undo_steps, 0);
  EXPECT_EQ(session.verify().erased_tokens, 0);
  EXPECT_EQ(snapshot_bytes(session).find("4711"), std::string::npos);
}

TEST_P(CallsTest, TruncatingKeepsTheBeginningAsItWas) {
  Session session = filled(model_);
  Session begin = fresh(model_, std::span<const Token>(session.tokens()).first(77));
  const View before(session);
  const TruncateReport report = session.truncate(77);
  EXPECT_EQ(report.tokens_dropped, 123);
  EXPECT_LT(report.bytes_after, report.bytes_before);
  EXPECT_EQ(session.stats().exact_tokens, 77);
  EXPECT_EQ(session.tokens(), begin.tokens());
  EXPECT_LT(from(begin, session).mean, 1e-9);
  session.undo();
  EXPECT_TRUE(View(session) == before);
  EXPECT_EQ(session.truncate(200).tokens_dropped, 0);
  EXPECT_EQ(session.stats().undo_steps, 0);
  for (const int tokens : {0, -1, 201})
    EXPECT_EQ(code_of([&] { session.truncate(tokens); }), ErrorCode::out_of_range);
  EXPECT_TRUE(View(session) == before);

  Session erased = filled(model_);
  erased.erase(Span{20, 40}, {.method = "steer", .adapter = eraser_});
  erased.truncate(100);
  EXPECT_EQ(erased.stats().exact_tokens, 20);
  erased.truncate(10);  // in front of the steering states
  EXPECT_EQ(erased.stats().steered_tokens, 0);
  Session whole = fresh(model_, erased.tokens());
  EXPECT_LT(from(whole, erased).mean, 1e-9);
  Session talking = talk();
  talking.truncate(talking.message("assistant", 1).tokens.begin + 2);
  EXPECT_EQ(talking.messages().size(), 3U);
  talking.append_messages(std::vector<Message>{{"user", "go on"}}, true);
}

TEST_P(CallsTest, RedoTakesBackAnUndo) {
  Session session = filled(model_);
  EXPECT_EQ(code_of([&] { session.redo(); }), ErrorCode::not_found);
  session.erase(Span{20, 40});
  const View once(session);
  session.erase(Span{50, 60}, {.method = "drop"});
  session.append_tokens(random_tokens(5, 3));
  const View twice(session);
  session.undo();
  session.undo();
  EXPECT_EQ(session.stats().redo_steps, 2);
  EXPECT_GT(session.stats().pinned_bytes, 0U);
  EXPECT_EQ(session.redo().what, "erase (recompute)");
  EXPECT_TRUE(View(session) == once);
  const RedoReport report = session.redo();
  EXPECT_EQ(report.what, "erase (drop)");
  EXPECT_EQ(report.tokens, session.stats().tokens);
  EXPECT_TRUE(View(session) == twice);
  EXPECT_EQ(session.stats().undo_steps, 2);
  EXPECT_EQ(session.undo().tokens_dropped, 5);
  session.generate({.max_tokens = 1});  // what was undone is of another text now
  EXPECT_EQ(session.stats().redo_steps, 0);
  EXPECT_EQ(code_of([&] { session.redo(); }), ErrorCode::not_found);
  session.undo();
  session.forget_history();
  EXPECT_EQ(session.stats().redo_steps, 0);
}

TEST_P(CallsTest, ASnapshotInMemoryIsTheFiles) {
  Session session = talk();
  session.erase(Span{5, 9}, {.method = "drop"});
  session.generate({.max_tokens = 3});
  const std::vector<std::byte> bytes = session.save_bytes();
  const std::string file = snapshot_bytes(session);
  ASSERT_EQ(bytes.size(), file.size());
  EXPECT_EQ(std::memcmp(bytes.data(), file.data(), file.size()), 0);
  Session again = Session::load_bytes(model_, bytes);
  EXPECT_EQ(again.tokens(), session.tokens());
  EXPECT_EQ(again.positions(), session.positions());
  EXPECT_EQ(again.stats().entries, session.stats().entries);
  EXPECT_LT(from(session, again).mean, 1e-7);
  EXPECT_EQ(again.messages().size(), session.messages().size());
  for (size_t cut : {size_t{0}, size_t{7}, bytes.size() / 2, bytes.size() - 1}) {
    EXPECT_EQ(code_of([&] { Session::load_bytes(model_, std::span(bytes).first(cut)); }), ErrorCode::corrupt);
  }
  std::vector<std::byte> flipped = bytes;
  flipped[bytes.size() / 2] ^= std::byte{4};
  EXPECT_EQ(code_of([&] { Session::load_bytes(model_, flipped); }), ErrorCode::corrupt);
}

TEST_P(CallsTest, ASnapshotHasOptionsAndCap) {
  Session session(model_, {.byte_limit = 1 << 26, .undo_depth = 2, .verify_rate = 0});
  session.append_tokens(random_tokens(150, 1));
  session.set_cap("streaming-llm:sinks=2,recent=20", Budget::tokens(60));
  Session again = Session::load_bytes(model_, session.save_bytes());
  EXPECT_EQ(again.stats().cap_policy, session.stats().cap_policy);
  EXPECT_TRUE(View(again) == View(session));
  for (Session* s : {&session, &again}) s->append_tokens(random_tokens(100, 2));
  EXPECT_TRUE(View(again) == View(session));
  EXPECT_GT(again.stats().cap_evictions, 0);
  for (int i = 0; i < 3; i++) again.erase(Span{5, 6}, {.method = "drop"});
  EXPECT_EQ(again.stats().undo_steps, 2);
  EXPECT_EQ(code_of([&] { again.set_byte_limit(1); }), ErrorCode::no_memory);
  const Session other = Session::load_bytes(model_, session.save_bytes(), {});
  EXPECT_EQ(other.stats().cap_policy, "");
}

TEST_P(CallsTest, LimitsAreToldApartAndChange) {
  const auto limit_of = [](const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::no_memory);
      return error.limit();
    }
    return MemoryLimit::none;
  };
  Session session = filled(model_);
  session.set_byte_limit(session.stats().bytes);
  EXPECT_EQ(limit_of([&] { session.append_tokens(random_tokens(200, 2)); }), MemoryLimit::session);
  session.set_byte_limit(0);
  model_->set_pool_limit(model_->pool().bytes_in_use);
  EXPECT_EQ(limit_of([&] { session.append_tokens(random_tokens(200, 2)); }), MemoryLimit::pool);
  model_->set_pool_limit(0);
  session.append_tokens(random_tokens(200, 2));
  EXPECT_EQ(Error(ErrorCode::no_memory, "a", "b").limit(), MemoryLimit::system);
  EXPECT_EQ(Error(ErrorCode::io, "a", "b").limit(), MemoryLimit::none);
}

TEST_P(CallsTest, ExclusiveBytesAreWhatFreeingGivesBack) {
  Session session = filled(model_);
  EXPECT_EQ(session.exclusive_bytes(), session.stats().bytes);
  std::optional<Session> fork = session.fork();
  EXPECT_EQ(session.exclusive_bytes(), 0U);
  fork->erase(Span{40, 60}, {.method = "shift"});
  fork->append_tokens(random_tokens(80, 2));
  fork->erase(Span{100, 110});
  fork->undo();
  const size_t in_use = model_->pool().bytes_in_use, exclusive = fork->exclusive_bytes();
  fork.reset();
  EXPECT_EQ(in_use - model_->pool().bytes_in_use, exclusive);
  EXPECT_EQ(session.exclusive_bytes(), session.stats().bytes);
}

TEST_P(CallsTest, AViewShowsTheCacheAsItWas) {
  Session session = filled(model_);
  session.evict("snapkv:window=8,recent=8", Budget::fraction(0.5));
  const Cache cache = cache_of(session);
  const CacheView view = session.view();
  session.erase(Span{3, 150}, {.method = "drop", .forget = true});
  EXPECT_EQ(view.layers() * view.kv_heads(), cache.layers() * cache.kv_heads());
  for (int layer = 0; layer < view.layers(); layer++) {
    for (int head = 0; head < view.kv_heads(); head++) {
      EXPECT_EQ(view.positions(layer, head), cache.lane(layer, head).positions());
      std::vector<Position> of_pages;
      for (size_t i = 0; i < view.pages(layer, head); i++) {
        const PageView page = view.page(layer, head, i);
        of_pages.insert(of_pages.end(), page.positions.begin(), page.positions.end());
        ASSERT_EQ(page.keys.size(), page.positions.size() * view.key_dim());
        ASSERT_EQ(page.values.size(), page.positions.size() * view.value_dim());
        const Page& of_cache = *cache.lane(layer, head).pages()[i];
        std::vector<float> key(view.key_dim()), value(view.value_dim());
        const auto last = static_cast<int>(page.positions.size()) - 1;
        load_entry(cache.pool()->shape(), of_cache, last, key.data(), value.data());
        EXPECT_TRUE(std::equal(key.begin(), key.end(), page.keys.end() - view.key_dim()));
        EXPECT_TRUE(std::equal(value.begin(), value.end(), page.values.end() - view.value_dim()));
      }
      EXPECT_EQ(of_pages, view.positions(layer, head));
      EXPECT_EQ(code_of([&] { view.page(layer, head, view.pages(layer, head)); }), ErrorCode::out_of_range);
    }
  }
  EXPECT_EQ(code_of([&] { view.entries(view.layers(), 0); }), ErrorCode::out_of_range);
  EXPECT_EQ(code_of([&] { view.entries(0, -1); }), ErrorCode::out_of_range);
}

TEST_P(CallsTest, TokensHaveStates) {
  Session session = filled(model_);
  session.erase(Span{50, 60}, {.method = "drop"});
  std::vector<TokenState> states = session.token_states();
  ASSERT_EQ(states.size(), 190U);
  for (int i = 0; i < 190; i++) {
    EXPECT_EQ(states[i].position, i < 50 ? i : i + 10);
    EXPECT_EQ(states[i].exact, i < 50);
    EXPECT_EQ(states[i].pending, i == 189);
    EXPECT_EQ(states[i].share, i == 189 ? 0 : 1);
  }
  session.evict("snapkv:window=8,recent=8", Budget::fraction(0.5));
  double sum = 0;
  for (const TokenState& state : session.token_states()) sum += state.share;
  const ModelInfo info = model_->info();
  EXPECT_NEAR(sum * info.layers * info.kv_heads, session.stats().entries, 0.5);
  EXPECT_TRUE(Session(model_).token_states().empty());
}

TEST_P(CallsTest, StatsAreNeverBusy) {
  Session session = filled(model_);
  EXPECT_FALSE(session.stats().busy);
  int least = 1000, most = 0;
  session.generate({.max_tokens = 10, .temperature = 4, .min_tokens = 10, .on_token = [&](const MadeToken&) {
                      const SessionStats stats = session.stats();
                      EXPECT_TRUE(stats.busy);
                      EXPECT_EQ(stats.context_length, 512);
                      least = std::min(least, stats.tokens);
                      most = std::max(most, stats.tokens);
                      EXPECT_EQ(session.upgrade_status().state, UpgradeState::none);
                      return true;
                    }});
  EXPECT_EQ(least, 200);
  EXPECT_EQ(most, 209);
  EXPECT_EQ(session.stats().tokens, 210);
  // A thread that looks all the time makes no call of another busy.
  std::atomic<bool> stop = false;
  std::thread watcher([&] {
    while (!stop) {
      EXPECT_GE(session.stats().tokens, 200);
      session.upgrade_status();
    }
  });
  for (int i = 0; i < 20; i++) {
    session.append_tokens(random_tokens(3, i));
    session.erase(Span{5, 8}, {.method = "shift"});
    session.undo();
    if (i % 5 == 0) session.upgrade({.threads = 1, .block_tokens = 16});
    session.generate({.max_tokens = 2, .temperature = 4});
  }
  stop = true;
  watcher.join();
}

INSTANTIATE_TEST_SUITE_P(Architectures, CallsTest, testing::Values("llama", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
