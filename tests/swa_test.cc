// Sliding-window layers that free what no later query can reach (swa=window), beside a session that keeps
// everything: the same results, bit for bit, in less memory; and of every edit the same result or a refusal.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "context/windows.h"
#include "evict/evict.h"
#include "session/model_impl.h"
#include "session_testing.h"

namespace kvedit {
namespace {

constexpr int kWindowTokens = 500;
constexpr int kWindow = 24;
constexpr int kBlock = 64;

class SwaTest : public testing::Test {
 protected:
  SwaTest() {
    ModelOptions options = exact_options();
    options.threads = 1;
    options.block_tokens = kBlock;
    TinySpec spec = spec_of("gemma3");
    spec.context = 2048;
    spec.window = kWindow;
    spec.layers = 3;
    spec.window_pattern = 3;  // two of three slide
    model_ = load(spec, options);
    eraser_ = random_eraser(*model_);
  }
  Session session(SlidingWindow swa, int tokens = kWindowTokens) const {
    SessionOptions options;
    options.swa = swa;
    Session session(model_, options);
    if (tokens > 0) session.append_tokens(random_tokens(tokens, 1));
    return session;
  }
  Session full(int tokens = kWindowTokens) const { return session(SlidingWindow::full, tokens); }
  Session windowed(int tokens = kWindowTokens) const { return session(SlidingWindow::window, tokens); }
  PagePool& pool() const { return *implementation(*model_)->page_pool(); }
  // Pages of a lane of a sliding-window layer, at most.
  static size_t most_pages(int block) { return (kWindow + kWindowSlack + block) / kPageEntries + 2; }

  std::shared_ptr<Model> model_;
  std::shared_ptr<const Adapter> eraser_;
};

TEST_F(SwaTest, LogitsAndGenerationAreThoseOfFullBitForBit) {
  Session a = full(0), b = windowed(0);
  uint32_t seed = 2;
  const auto both = [&](auto act) {
    const auto of_full = act(a), of_windowed = act(b);
    ASSERT_TRUE(of_full == of_windowed);
  };
  for (const int n : {500, 1, 30, 64, 65, 200, 129}) {
    const std::vector<Token> tokens = random_tokens(n, seed++);
    both([&](Session& s) { return s.append_tokens(tokens).tokens.end; });
    both([](Session& s) { return s.logits(); });  // leaves the last token's entry in place
    both([&](Session& s) { return s.logits_after(random_tokens(20, 99)); });
    both([](Session& s) { return s.logits(); });
  }
  for (const Token token : random_tokens(140, 50)) {
    both([&](Session& s) { return s.append_tokens({&token, 1}).tokens.end; });
    both([](Session& s) { return s.logits(); });
  }
  both([](Session& s) { return s.generate({.max_tokens = 150, .temperature = 9, .seed = 4}).tokens; });
  both([](Session& s) { return s.logits(); });
  EXPECT_EQ(a.stats().held_from, 0);
  const int length = b.stats().tokens;
  EXPECT_GT(b.stats().held_from, length - 1 - kWindow - kWindowSlack - kPageEntries - 1);
  EXPECT_LT(b.stats().held_from, length - kWindow - kWindowSlack + 1);
}

TEST_F(SwaTest, WhatIsFreedIsGivenBack) {
  const int heads = model_->info().kv_heads;
  const size_t full_pages = heads * static_cast<size_t>((1900 + kPageEntries - 1) / kPageEntries);
  reset_high_water(*model_);
  Session session = windowed(1900);
  EXPECT_LE(session.stats().bytes, (full_pages + 2 * heads * most_pages(0)) * pool().page_bytes());
  EXPECT_LE(model_->pool().high_water_bytes,
            (full_pages + 2 * heads * most_pages(kBlock)) * pool().page_bytes());
  EXPECT_EQ(model_->pool().bytes_in_use, session.stats().bytes);
  const size_t headers =
      (size_t{4} << 20) / (pool().page_bytes() - sizeof(Page)) * sizeof(Page);  // of a slab
  EXPECT_LE(model_->pool().resident_bytes, session.stats().bytes + headers);
  session.generate({.max_tokens = 100, .temperature = 9});
  EXPECT_LE(model_->pool().resident_bytes, session.stats().bytes + headers);

  // A text that the pool has no room for with swa=full.
  { const Session gone = std::move(session); }
  pool().set_limit((full_pages + 2 * heads * most_pages(kBlock)) * pool().page_bytes());
  EXPECT_EQ(code_of([&] { full(1900); }), ErrorCode::no_memory);
  EXPECT_EQ(windowed(1900).stats().tokens, 1900);
  SessionOptions options;
  options.swa = SlidingWindow::window;
  options.byte_limit = (full_pages + 2 * heads * most_pages(kBlock)) * pool().page_bytes();
  Session limited(model_, options);
  limited.append_tokens(random_tokens(1900, 1));
}

TEST_F(SwaTest, AReadingThatFailsHasNotHappened) {
  Session session = windowed();
  session.erase(Span{10, 20}, {.method = "shift"});
  for (const bool ahead : {false, true}) {
    const std::string before = snapshot_bytes(session);
    const size_t in_use = pool().stats().bytes_in_use;
    for (const size_t until : {0, 60, 400, 899}) {
      if (ahead) session.logits();
      EXPECT_EQ(code_of([&] {
                  session.append_tokens(random_tokens(900, 3),
                                        [&](size_t done, size_t) { return done < until; });
                }),
                ErrorCode::cancelled);
      if (ahead) {
        Session twin = session.fork();
        EXPECT_EQ(session.logits(), twin.logits());
      }
      EXPECT_TRUE(snapshot_bytes(session) == before);
      EXPECT_EQ(pool().stats().bytes_in_use, in_use);
    }
    pool().set_limit(in_use + 40 * pool().page_bytes());
    EXPECT_EQ(code_of([&] { session.append_tokens(random_tokens(1400, 3)); }), ErrorCode::no_memory);
    pool().set_limit(0);
    EXPECT_TRUE(snapshot_bytes(session) == before);
  }
}

// What an edit of the windowed session does, beside the same on one that keeps everything.
enum class Outcome { same, refused };
Outcome compare(Session& of_full, Session& of_windowed, const std::function<void(Session&)>& edit) {
  const std::string before = snapshot_bytes(of_windowed);
  try {
    edit(of_windowed);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
    EXPECT_NE(std::string(error.what()).find("sliding-window layers"), std::string::npos) << error.what();
    EXPECT_TRUE(snapshot_bytes(of_windowed) == before);
    return Outcome::refused;
  }
  edit(of_full);
  EXPECT_EQ(of_full.tokens(), of_windowed.tokens());
  EXPECT_EQ(of_full.positions(), of_windowed.positions());
  EXPECT_LT(from(of_full, of_windowed).relative, 1e-5);
  // All that later queries read, those of a policy that looks back included.
  EXPECT_TRUE(of_windowed.stats().held_from == 0 ||
              of_windowed.stats().held_from <= of_windowed.positions().back() - kWindowReserve - kWindow + 1);
  return Outcome::same;
}

TEST_F(SwaTest, AnEraseEqualsThatOfFullOrIsRefused) {
  const Session of_full = full(), of_windowed = windowed();
  const int held = of_windowed.stats().held_from;  // 320: pages before 499 - 24 - 128
  ASSERT_EQ(held, 320);
  const std::vector<std::string> any = {"recompute", "steer", "mend", "repair", "shift", "drop"};
  const std::vector<std::string> reading_nothing_old = {"recompute", "shift", "drop"};
  const struct {
    const char* name;
    std::vector<Span> spans;
    std::vector<std::string> accepted;  // methods
  } places[] = {
      {"start", {{0, 12}}, reading_nothing_old},
      {"freed", {{90, 110}}, reading_nothing_old},
      {"across the border", {{300, 340}}, reading_nothing_old},
      {"read from what is freed", {{330, 342}}, reading_nothing_old},
      {"behind", {{350, 400}}, any},
      {"last token", {{kWindowTokens - 1, kWindowTokens}}, any},
      {"end", {{kWindowTokens - 60, kWindowTokens}}, any},
      {"much of the end", {{kWindowTokens - 140, kWindowTokens}}, {"recompute"}},
      {"much near the end", {{350, 480}}, {"recompute", "steer", "drop"}},
      {"three", {{3, 9}, {60, 70}, {400, 410}}, reading_nothing_old},
  };
  for (const auto& place : places) {
    for (const EraseMethodInfo& method : erase_methods()) {
      SCOPED_TRACE(method.name + ", " + place.name);
      Session a = of_full.fork(), b = of_windowed.fork();
      const EraseOptions options{.method = with_window(method.name, 24), .adapter = eraser_};
      EraseReport report;
      const Outcome outcome = compare(a, b, [&](Session& s) { report = s.erase(place.spans, options); });
      const bool accepted =
          std::find(place.accepted.begin(), place.accepted.end(), method.name) != place.accepted.end();
      EXPECT_EQ(outcome == Outcome::same, accepted);
      if (outcome == Outcome::refused) continue;
      b.append_tokens(random_tokens(70, 5));
      a.append_tokens(random_tokens(70, 5));
      EXPECT_LT(from(a, b).relative, 1e-5);
      b.undo();
      EXPECT_TRUE(snapshot_bytes(b) == snapshot_bytes(of_windowed));
    }
  }
}

TEST_F(SwaTest, ARecomputeSaysThatItReadsAllAgain) {
  for (const auto& [begin, recomputed] : {std::pair{490, 5}, {450, 45}, {400, 495}, {200, 495}}) {
    Session session = windowed();
    const EraseReport report = session.erase(Span{begin, begin + 4}, {.method = "recompute"});
    EXPECT_EQ(report.tokens_recomputed, recomputed) << begin;
    EXPECT_EQ(report.note.find("from the start") != std::string::npos, recomputed == 495) << report.note;
    EXPECT_EQ(report.exactness, Exactness::exact);
    EXPECT_EQ(session.stats().exact_tokens, kWindowTokens - 4);
    Session exact = fresh(model_, session.tokens());
    EXPECT_LT(from(exact, session).relative, 1e-5);
    EXPECT_GT(session.stats().held_from, 0) << "windows are freed while it reads";
  }
}

TEST_F(SwaTest, AnyHistoryEqualsThatOfFullOrIsRefused) {
  std::mt19937 random(7);
  const auto pick = [&](int n) { return static_cast<int>(random() % n); };
  const std::vector<EraseMethodInfo> methods = erase_methods();
  const auto of_few_states = random_eraser(*model_, 0.5F, 4);
  int same = 0, refused = 0;
  for (int run = 0; run < 4; run++) {
    Session a = full(), b = windowed();
    for (int i = 0; i < 25; i++) {
      SCOPED_TRACE(std::to_string(run) + "/" + std::to_string(i));
      const int size = b.stats().tokens;
      const uint32_t seed = random();
      const int kind = pick(8);
      const auto edit = [&](Session& s) {
        if (kind < 4 && size > 100) {
          std::mt19937 of_edit(seed);
          const int length = 1 + static_cast<int>(of_edit() % 40);
          const int begin = static_cast<int>(of_edit() % (size - length));
          const EraseOptions options{.method = with_window(methods[of_edit() % methods.size()].name, 16),
                                     .adapter = run % 2 == 0 ? eraser_ : of_few_states};
          s.erase(Span{begin, begin + length}, options);
        } else if (kind == 4 && s.stats().undo_steps > 0) {
          s.undo();
        } else if (kind == 5) {
          s = s.fork();
        } else {
          s.append_tokens(random_tokens(1 + static_cast<int>(seed % 90), seed));
        }
      };
      (compare(a, b, edit) == Outcome::same ? same : refused)++;
      if (a.stats().tokens > 1500) break;
    }
  }
  EXPECT_GT(refused, 5);
  EXPECT_GT(same, 50);
}

TEST_F(SwaTest, EvictionEqualsThatOfFullOrIsRefused) {
  const Session of_full = full(), of_windowed = windowed();
  for (const std::string& text : policy_texts(*model_)) {
    SCOPED_TRACE(text);
    Session a = of_full.fork(), b = of_windowed.fork();
    // Room for what is always kept, and not for all that is in reach.
    const Outcome outcome = compare(a, b, [&](Session& s) { s.evict(text, Budget::fraction(0.5)); });
    EXPECT_EQ(outcome == Outcome::same, within_windows(make_policy(text)));
    if (outcome == Outcome::refused) continue;
    const Cache of_a = cache_of(a), of_b = cache_of(b);
    for (int lane = 0; lane < of_a.layers() * of_a.kv_heads(); lane++) {
      const int layer = lane / of_a.kv_heads(), head = lane % of_a.kv_heads();
      EXPECT_EQ(of_a.lane(layer, head).positions(), of_b.lane(layer, head).positions()) << lane;
    }
    EXPECT_EQ(a.logits(), b.logits());
    // Before anything is freed every policy runs.
    Session young = windowed(100);
    young.evict(text, Budget::fraction(0.9));
  }
}

TEST_F(SwaTest, AnEvictedSessionIsReadAgainAndEvictedAgain) {
  for (const char* policy : {"snapkv:window=8,recent=8", "h2o:recent=8"}) {
    const int tokens = std::string(policy).starts_with("h2o") ? 100 : kWindowTokens;
    Session a = full(tokens), b = windowed(tokens);
    for (Session* s : {&a, &b}) {
      s->evict(policy, Budget::fraction(0.5));
      s->append_tokens(random_tokens(300, 8));
    }
    EXPECT_GT(b.stats().held_from, 0);
    EXPECT_EQ(a.logits(), b.logits());
    EXPECT_EQ(compare(a, b,
                      [](Session& s) {
                        s.erase(Span{20, 40}, {.method = "recompute"});
                      }),
              Outcome::same);
    EXPECT_TRUE(b.stats().evicted);
    const VerifyReport of_a = a.verify({.probes = {"one and two"}}),
                       of_b = b.verify({.probes = {"one and two"}});
    EXPECT_NEAR(of_a.mean_kl, of_b.mean_kl, 1e-6);
  }
}

TEST_F(SwaTest, ACapReadsAndGenerates) {
  Session session = windowed(0);
  session.set_cap("snapkv:window=8,recent=8", Budget::tokens(100));
  session.append_tokens(random_tokens(1500, 1));
  session.generate({.max_tokens = 100, .temperature = 9});
  EXPECT_GT(session.stats().cap_evictions, 5);
  const size_t lanes = static_cast<size_t>(model_->info().layers) * model_->info().kv_heads;
  EXPECT_LE(session.stats().entries, 100 * lanes);
  for (const float x : session.logits()) ASSERT_TRUE(std::isfinite(x));
  session.erase(Span{700, 720}, {.method = "shift"});
  session.append_tokens(random_tokens(100, 2));
  for (const char* policy : {"h2o", "expected-attention", "snapkv:window=65"}) {
    EXPECT_EQ(code_of([&] { session.set_cap(policy, Budget::tokens(200)); }), ErrorCode::unsupported);
  }
  EXPECT_EQ(session.stats().cap_policy, "snapkv:window=8,recent=8");
}

TEST_F(SwaTest, ASnapshotKeepsWhatIsHeld) {
  Session a = windowed();
  a.erase(Span{350, 390}, {.method = "shift"});
  a.erase(Span{10, 20}, {.method = "drop"});
  const std::string path = temporary_path("windowed.kvs");
  a.save(path);
  SessionOptions options;
  options.swa = SlidingWindow::window;
  Session b = Session::load(model_, path, options);
  Session c = Session::load(model_, path);  // frees no more, but what is gone is gone
  EXPECT_EQ(b.stats().held_from, a.stats().held_from);
  EXPECT_EQ(c.stats().held_from, a.stats().held_from);
  const std::string packed = snapshot_bytes(b);
  b.save(path);
  EXPECT_TRUE(snapshot_bytes(Session::load(model_, path, options)) == packed);
  const auto late = [](Session& s) { s.erase(Span{330, 450}, {.method = "shift"}); };
  for (Session* s : {&a, &b, &c}) EXPECT_EQ(code_of([&] { late(*s); }), ErrorCode::unsupported);
  for (Session* s : {&a, &b, &c}) s->append_tokens(random_tokens(300, 3));
  EXPECT_LT(from(a, b).relative, 1e-5);
  EXPECT_LT(from(a, c).relative, 1e-5);
  EXPECT_NEAR(a.stats().held_from, b.stats().held_from, kPageEntries - 1);  // pages were packed
  EXPECT_GT(c.stats().entries, a.stats().entries);
  c.save(path);
  EXPECT_EQ(Session::load(model_, path, options).stats().bytes, b.stats().bytes) << "freed on loading";
  full().save(path);
  EXPECT_EQ(Session::load(model_, path, options).stats().entries, windowed().stats().entries);
}

TEST_F(SwaTest, AnUpgradeReadsFromTheStartWhereItMust) {
  for (const int begin : {30, 420}) {
    Session session = windowed();
    session.erase(Span{begin, begin + 20}, {.method = "drop"});
    session.upgrade({.threads = 1, .block_tokens = 8});
    session.append_tokens(random_tokens(60, 3));
    session.erase(Span{440, 450}, {.method = "shift"});
    if (session.upgrade_status().state != UpgradeState::done) session.finish_upgrade();
    if (session.stats().exact_tokens != session.stats().tokens) {
      session.upgrade({.threads = 1, .block_tokens = 8});
      session.finish_upgrade();
    }
    Session exact = fresh(model_, session.tokens());
    EXPECT_EQ(session.positions(), exact.positions());
    EXPECT_LT(from(exact, session).relative, 1e-4);
    EXPECT_GT(session.stats().held_from, 0);
  }
}

TEST_F(SwaTest, VerifyAgreesWithThatOfFull) {
  Session a = full(), b = windowed();
  for (const char* method : {"drop", "shift"}) {
    for (Session* s : {&a, &b}) s->erase(Span{100, 120}, {.method = method});
    const VerifyReport of_a = a.verify(), of_b = b.verify();
    EXPECT_NEAR(of_a.mean_kl, of_b.mean_kl, 1e-6 + 1e-4 * of_a.mean_kl);
    EXPECT_GT(of_b.tokens_recomputed, of_a.tokens_recomputed);
    EXPECT_NE(of_b.note.find("from the start"), std::string::npos);
  }
}

TEST_F(SwaTest, SyncEqualsThatOfFullOrIsRefused) {
  std::vector<Message> messages;
  for (int i = 0; i < 16; i++) {
    messages.push_back(
        {i % 2 ? "assistant" : "user", "Message number " + std::to_string(i) + " of the talk."});
  }
  std::vector<Message> early = messages, late = messages, less = messages, more = messages;
  early[1].content = "Changed early.";
  late[14].content = "Changed.";
  less.resize(15);
  more.push_back({"user", "One more."});
  const auto talk = [&](SlidingWindow swa) {
    Session s = session(swa, 0);
    s.append_messages(messages, false);
    return s;
  };
  const Session of_full = talk(SlidingWindow::full), of_windowed = talk(SlidingWindow::window);
  ASSERT_GT(of_windowed.stats().held_from, 0);
  for (const std::string method : {"recompute", "shift", "steer"}) {
    for (const auto* wanted : {&early, &late, &less, &more}) {
      SCOPED_TRACE(method);
      Session a = of_full.fork(), b = of_windowed.fork();
      const Outcome outcome = compare(
          a, b, [&](Session& s) { s.sync(*wanted, {.method = method, .reply = false, .adapter = eraser_}); });
      const bool accepted = method == "recompute" || wanted == &more || wanted == &less || wanted == &late;
      EXPECT_EQ(outcome == Outcome::same, accepted) << wanted->size();
    }
  }
}

}  // namespace
}  // namespace kvedit
