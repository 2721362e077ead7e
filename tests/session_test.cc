// Sessions on tiny random models of every architecture: what edits promise.
#include "kvedit/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <thread>

#include "session_testing.h"
#include "tools/text.h"

namespace kvedit {
namespace {

class SessionTest : public testing::TestWithParam<std::string> {
 protected:
  SessionTest() : model_(load(spec_of(GetParam()), exact_options())) {}

  Session filled(int tokens = 200) { return kvedit::filled(model_, tokens); }
  std::shared_ptr<const Adapter> eraser() const { return random_eraser(*model_); }

  std::shared_ptr<Model> model_;
};

TEST_P(SessionTest, RecomputeEqualsAFreshPrefillOfTheRest) {
  const std::vector<std::vector<Span>> cases = {
      {{0, 10}},           {{50, 80}}, {{190, 200}}, {{199, 200}}, {{63, 65}}, {{5, 9}, {60, 70}, {150, 151}},
      {{20, 30}, {30, 40}}};
  for (const auto& spans : cases) {
    Session session = filled();
    std::vector<Token> rest = session.tokens();
    for (size_t i = spans.size(); i-- > 0;)
      rest.erase(rest.begin() + spans[i].begin, rest.begin() + spans[i].end);
    const EraseReport report = session.erase(spans);
    EXPECT_EQ(report.exactness, Exactness::exact);
    EXPECT_EQ(session.tokens(), rest);
    Session fresh(model_);
    fresh.append_tokens(rest);
    EXPECT_EQ(session.positions(), fresh.positions());
    EXPECT_EQ(session.stats().entries, fresh.stats().entries);
    const Divergence d = from(fresh, session);
    EXPECT_LT(d.mean, 1e-6) << d;
    EXPECT_LT(d.relative, 1e-4) << d;
  }
}

TEST_P(SessionTest, RecomputeIsExactAfterApproximateEditsToo) {
  for (const std::string first : {"shift", "drop", "repair"}) {
    Session session = filled();
    session.erase(Span{20, 40}, {.method = first});
    session.append_tokens(std::vector<Token>{7, 8, 9});
    session.erase(Span{100, 110});
    Session fresh(model_);
    fresh.append_tokens(session.tokens());
    EXPECT_EQ(session.positions(), fresh.positions());
    EXPECT_LT(from(fresh, session).relative, 1e-4) << "after " << first;
  }
}

TEST_P(SessionTest, EveryMethodErasesTheTokensAndKeepsTranscriptAndCacheTogether) {
  const auto adapter = eraser();
  for (const EraseMethodInfo& method : erase_methods()) {
    for (const Span span : {Span{0, 5}, Span{60, 70}, Span{100, 164}, Span{195, 200}, Span{199, 200}}) {
      Session session = filled();
      std::vector<Token> rest = session.tokens();
      rest.erase(rest.begin() + span.begin, rest.begin() + span.end);
      const EraseReport report = session.erase(span, {.method = method.name, .adapter = adapter});
      EXPECT_EQ(session.tokens(), rest) << method.name;
      EXPECT_EQ(report.tokens_erased, span.size());
      const SessionStats stats = session.stats();
      EXPECT_EQ(stats.entries, stats.full_entries) << method.name << " " << span.begin;
      const std::vector<Position> positions = session.positions();
      const bool stay = !report.positions_changed && span.end < 200;
      EXPECT_EQ(positions.back(), stay ? 199 : static_cast<Position>(rest.size()) - 1);
      session.append_tokens(std::vector<Token>{5, 6, 7});  // life goes on
      for (const float x : session.logits()) ASSERT_TRUE(std::isfinite(x));
      const UndoReport undone = session.undo();
      EXPECT_EQ(undone.tokens_dropped, 3);
      EXPECT_EQ(undone.tokens_restored, span.size());
      Session before = filled();
      EXPECT_EQ(View(session), View(before)) << "undo is bitwise after " << method.name;
    }
  }
}

TEST_P(SessionTest, RepairOverTheWholeSuffixEqualsRecompute) {
  Session exact = filled();
  exact.erase(Span{30, 50});
  for (const auto& [window, tail] : {std::pair(1000, 0), std::pair(100, 49), std::pair(1, 148)}) {
    Session repaired = filled();
    const EraseReport report =
        repaired.erase(Span{30, 50}, {.method = cat("repair:window=", window, ",tail=", tail)});
    EXPECT_EQ(report.tokens_recomputed, 149);
    EXPECT_LT(from(exact, repaired).relative, 1e-4) << window;
  }
  Session behind_name = filled();
  EXPECT_EQ(behind_name.erase(Span{30, 50}, {.method = "repair:tail=20,window=10"}).tokens_recomputed, 30);
  for (const char* method : {"repair:window", "repair:window=2x", "repair:depth=3",
                             "repair:", "repair:window=1,", "repair:tail=1,tail=2", "drop:window=2"}) {
    EXPECT_EQ(code_of([&] {
                exact.erase(Span{1, 2}, {.method = method});
              }),
              ErrorCode::invalid_argument)
        << method;
  }
  for (const char* method : {"repair:tail=-1", "repair:window=0", "mend:copies=2147483648"}) {
    EXPECT_EQ(code_of([&] {
                exact.erase(Span{1, 2}, {.method = method});
              }),
              ErrorCode::out_of_range)
        << method;
  }
  EXPECT_EQ(code_of([&] { exact.erase(Span{1, 2}, {.method = "patch:window=2"}); }), ErrorCode::not_found);
}

// What follows the span, repeats its wording or ends the text is read again, the rest only moves.
TEST_P(SessionTest, MendReadsAgainWhereTheSpanWasFeltMost) {
  constexpr int kWindow = 10;
  const Span span{60, 70}, behind{60, 70}, repeated{110, 110 + 5 + 12}, last{179, 189};  // after the erase
  std::vector<Token> tokens = random_tokens(200, 8);
  std::copy_n(tokens.begin() + span.begin + 2, 5, tokens.begin() + repeated.begin + span.size());
  Session shifted = fresh(model_, tokens), mended = fresh(model_, tokens);
  shifted.erase(span, {.method = "shift"});
  const EraseReport report = mended.erase(span, {.method = cat("mend:window=", kWindow, ",tail=", kWindow)});
  EXPECT_EQ(report.exactness, Exactness::approximate);
  EXPECT_EQ(report.tokens_recomputed, behind.size() + repeated.size() + last.size());
  EXPECT_EQ(mended.positions(), shifted.positions());
  const Cache a = cache_of(shifted), b = cache_of(mended);
  const PageShape& shape = a.pool()->shape();
  const int layer = a.layers() - 1;
  std::vector<float> keys[2], values[2];  // [entries][dim]
  for (int side = 0; side < 2; side++) {
    const Lane& lane = (side == 0 ? a : b).lane(layer, 0);
    keys[side].resize(static_cast<size_t>(lane.size()) * shape.key_dim);
    values[side].resize(static_cast<size_t>(lane.size()) * shape.value_dim);
    lane.read(0, lane.size(), keys[side], values[side]);
  }
  for (int i = 0; i < 189; i++) {
    const auto value = [&](int side) {
      return std::span(values[side]).subspan(static_cast<size_t>(i) * shape.value_dim, shape.value_dim);
    };
    const auto within = [&](Span s) { return i >= s.begin && i < s.end; };
    const bool again = within(behind) || within(repeated) || within(last);
    EXPECT_EQ(std::ranges::equal(value(0), value(1)), !again) << i;
  }
}

TEST_P(SessionTest, MendOverTheWholeSuffixEqualsRecompute) {
  const Span spans[] = {{30, 50}, {80, 90}};
  Session exact = filled(), mended = filled();
  exact.erase(spans);
  mended.erase(spans, {.method = "mend:window=2147483647"});
  EXPECT_LT(from(exact, mended).relative, 1e-4);
}

// In a model of one layer keys and values depend on their own token alone, so nothing is contaminated:
// what remains is the removal itself and the turning of keys.
TEST_P(SessionTest, InOneLayerShiftIsExact) {
  TinySpec spec = spec_of(GetParam());
  spec.layers = 1;
  const auto model = load(spec, exact_options());
  for (const std::string method : {"shift", "repair"}) {
    Session session(model);
    std::vector<Token> all(300);
    std::mt19937 random(2);
    for (Token& t : all) t = static_cast<Token>(3 + random() % 300);
    session.append_tokens(all);
    const Span spans[] = {{10, 15}, {70, 200}};
    session.erase(spans, {.method = method});
    Session fresh(model);
    fresh.append_tokens(session.tokens());
    EXPECT_EQ(session.positions(), fresh.positions());
    EXPECT_LT(divergence(fresh.logits(), session.logits(), model->info().vocabulary).relative, 1e-4)
        << method;
  }
}

TEST_P(SessionTest, AForkNeverChangesItsParent) {
  Session parent = filled();
  const View before(parent);
  const size_t pages = model_->pool().pages_in_use;
  Session child = parent.fork();
  EXPECT_EQ(model_->pool().pages_in_use, pages) << "no page is copied";
  child.erase(Span{10, 20}, {.method = "shift"});
  child.append_tokens(std::vector<Token>{1, 2, 3});
  child.evict("random", Budget::fraction(0.5));
  child.generate({.max_tokens = 5});
  EXPECT_EQ(View(parent), before);
}

TEST_P(SessionTest, GenerationIsForwardingWhatWasChosen) {
  Session session = filled();
  const Generation made = session.generate({.max_tokens = 20});
  Session again = filled();
  for (const Token token : made.tokens) {
    const std::vector<float> logits = again.logits();
    EXPECT_EQ(token, std::max_element(logits.begin(), logits.end()) - logits.begin());
    again.append_tokens({&token, 1});
  }
  EXPECT_EQ(again.tokens(), session.tokens());
}

TEST_P(SessionTest, LogitsForwardThePendingTokenOnceAndEditsForgetThem) {
  Session session = filled();
  const std::vector<float> first = session.logits();
  EXPECT_EQ(session.logits(), first);
  const Token next = 17;
  session.append_tokens({&next, 1});  // the pending token is in the cache already
  Session other = filled();
  other.append_tokens({&next, 1});
  EXPECT_EQ(View(session), View(other));
  const std::vector<float> stale = session.logits();
  session.erase(Span{5, 50}, {.method = "drop"});
  EXPECT_NE(session.logits(), stale);
  EXPECT_EQ(session.stats().entries, session.stats().full_entries);
}

TEST_P(SessionTest, ASeedFixesWhatIsDrawn) {
  const GenerateOptions options{.max_tokens = 20,
                                .temperature = 20,
                                .top_k = 50,
                                .top_p = 0.95F,
                                .min_p = 0.01F,
                                .repetition_penalty = 1.1F,
                                .seed = 42};
  Session a = filled();
  Session b = filled();
  EXPECT_EQ(a.generate(options).tokens, b.generate(options).tokens);
  const auto drawn = [&](uint32_t seed) {
    return filled().generate({.max_tokens = 20, .temperature = 20, .seed = seed}).tokens;
  };
  EXPECT_EQ(drawn(1), drawn(1));
  EXPECT_NE(drawn(1), drawn(2));
}

TEST_P(SessionTest, ASnapshotBringsTheSessionBack) {
  const std::string path = temporary_path("session.kvs");
  Session session = filled();
  session.erase(Span{20, 30}, {.method = "drop"});
  session.evict("random", Budget::fraction(0.4));
  session.save(path);
  Session loaded = Session::load(model_, path);
  EXPECT_EQ(loaded.tokens(), session.tokens());
  EXPECT_EQ(loaded.positions(), session.positions());
  EXPECT_EQ(loaded.stats().entries, session.stats().entries);
  EXPECT_EQ(loaded.stats().policy, session.stats().policy);
  EXPECT_LT(from(session, loaded).relative, 1e-6) << "the same entries, perhaps other pages";
  EXPECT_EQ(loaded.generate({.max_tokens = 8}).tokens, session.generate({.max_tokens = 8}).tokens);

  TinySpec other = spec_of(GetParam());
  other.seed = 99;
  const auto stranger = Model::load(write_tiny_model(other, temporary_path("other.gguf")), exact_options());
  EXPECT_EQ(code_of([&] { Session::load(stranger, path); }), ErrorCode::unsupported);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  EXPECT_EQ(code_of([&] { Session::load(model_, path); }), ErrorCode::corrupt);
}

TEST_P(SessionTest, EvictingFreesMemoryAndGoesOn) {
  Session session = filled(400);
  const size_t before = model_->pool().bytes_in_use;
  const EvictReport report = session.evict("snapkv:window=8", Budget::fraction(0.25));
  EXPECT_LT(model_->pool().bytes_in_use, before / 2);
  EXPECT_EQ(report.bytes_after, session.stats().bytes);
  EXPECT_TRUE(session.stats().evicted);
  const Generation made = session.generate({.max_tokens = 10});
  EXPECT_FALSE(made.tokens.empty());
  const auto adapter = eraser();
  for (const EraseMethodInfo& method : erase_methods()) {
    Session fork = session.fork();
    const EraseReport erased = fork.erase(Span{100, 120}, {.method = method.name, .adapter = adapter});
    EXPECT_EQ(fork.tokens().size(), session.tokens().size() - 20) << method.name;
    if (method.name == "recompute") {
      EXPECT_NE(erased.note, "");
    }
    for (const float x : fork.logits()) ASSERT_TRUE(std::isfinite(x)) << method.name;
  }
}

TEST_P(SessionTest, KeepingEverythingChangesNothing) {
  for (const std::string& policy : policy_texts(*model_)) {
    Session session = filled();
    const View before(session);
    session.evict(policy, Budget::fraction(1));
    EXPECT_EQ(View(session), before) << policy;
  }
}

TEST_P(SessionTest, ACancelledAppendChangesNothing) {
  Session session = filled();
  const View before(session);
  const std::vector<Token> more(200, 9);
  EXPECT_EQ(code_of([&] { session.append_tokens(more, [](size_t done, size_t) { return done < 100; }); }),
            ErrorCode::cancelled);
  EXPECT_EQ(View(session), before);
}

TEST_P(SessionTest, BadInputIsNamedAndChangesNothing) {
  Session session = filled();
  const View before(session);
  const auto erase = [&](std::vector<Span> spans) { return code_of([&, spans] { session.erase(spans); }); };
  EXPECT_EQ(erase({}), ErrorCode::invalid_argument);
  EXPECT_EQ(erase({{5, 5}}), ErrorCode::invalid_argument);
  EXPECT_EQ(erase({{9, 5}}), ErrorCode::invalid_argument);
  EXPECT_EQ(erase({{190, 201}}), ErrorCode::out_of_range);
  EXPECT_EQ(erase({{-1, 4}}), ErrorCode::out_of_range);
  EXPECT_EQ(erase({{5, 10}, {8, 12}}), ErrorCode::invalid_argument);
  EXPECT_EQ(erase({{0, 200}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { session.erase(Span{1, 2}, {.method = "magic"}); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { session.evict("magic", Budget::fraction(0.5)); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { session.evict("random", Budget::tokens(3)); }), ErrorCode::out_of_range);
  EXPECT_EQ(code_of([&] { session.append(""); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { session.append("bad \xff byte"); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { session.append(std::string_view("nul \0 byte", 10)); }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { session.append_tokens(std::vector<Token>(400, 5)); }), ErrorCode::context_full);
  EXPECT_EQ(code_of([&] { session.append_tokens(std::vector<Token>{100000}); }), ErrorCode::out_of_range);
  EXPECT_EQ(code_of([&] { session.find_one("not in there at all"); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { session.undo(); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { session.generate({.max_tokens = 0}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { session.generate({.temperature = -1}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { Session::load(model_, "/nowhere/session"); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { session.save("/nowhere/session"); }), ErrorCode::io);
  EXPECT_EQ(View(session), before);
  Session empty(model_);
  EXPECT_EQ(code_of([&] { empty.generate(); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { empty.logits(); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { empty.evict("random", Budget::fraction(0.5)); }), ErrorCode::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Architectures, SessionTest, testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& info) { return info.param; });

TEST(SessionThreadsTest, ASecondCallerIsTold) {
  const auto model = load(spec_of("llama"), exact_options());
  Session session(model);
  session.append_tokens(std::vector<Token>(50, 5));
  ErrorCode seen = ErrorCode::io;
  session.append_tokens(std::vector<Token>(50, 5), [&](size_t, size_t) {
    std::thread([&] { seen = code_of([&] { session.tokens(); }); }).join();
    return true;
  });
  EXPECT_EQ(seen, ErrorCode::busy);
}

// Run under TSan too. One compute thread each, so that no thread of uninstrumented ggml takes part.
TEST(SessionThreadsTest, SessionsOfOneModelRunInDifferentThreads) {
  ModelOptions options = exact_options();
  options.threads = 1;
  const auto model = load(spec_of("qwen3"), options);
  Session parent(model);
  parent.append_tokens(std::vector<Token>(150, 5));
  std::vector<std::thread> threads;
  std::vector<std::vector<Token>> results(4);
  for (int i = 0; i < 4; i++) {
    auto child = std::make_shared<Session>(parent.fork());
    threads.emplace_back([child, i, &results] {
      child->erase(Span{10, 20 + i % 2}, {.method = "shift"});
      child->evict("snapkv:window=8", Budget::fraction(0.5));
      child->generate({.max_tokens = 10});
      results[i] = child->tokens();
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(results[0], results[2]);
  EXPECT_EQ(results[1], results[3]);
}

}  // namespace
}  // namespace kvedit
