// Every erase method, before and after eviction, on one span and on three, everywhere in the context: what
// must hold afterwards, and that an edit which fails at any of its steps has not happened.
#include <gtest/gtest.h>

#include <cmath>

#include "session/model_impl.h"
#include "session_testing.h"

namespace kvedit {
namespace {

constexpr int kEraseTokens = 200;

struct Place {
  const char* name;
  std::vector<Span> spans;
};

const std::vector<Place>& places() {
  static const std::vector<Place> all = {
      {"start", {{0, 12}}},
      {"middle", {{90, 110}}},
      {"across a page's border", {{58, 70}}},
      {"end", {{180, kEraseTokens}}},
      {"last token", {{kEraseTokens - 1, kEraseTokens}}},
      {"three", {{3, 9}, {60, 70}, {150, 151}}},
      {"three with the end", {{0, 5}, {64, 128}, {190, kEraseTokens}}},
  };
  return all;
}

class EraseMatrixTest : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  EraseMatrixTest() {
    ModelOptions options = exact_options();
    options.threads = 1;
    options.block_tokens = 16;  // many blocks, so many places to fail
    model_ = load(spec_of(std::get<0>(GetParam())), options);
    eraser_ = random_eraser(*model_);
  }
  EraseOptions options() const {
    return {.method = with_window(std::get<1>(GetParam()), 24), .adapter = eraser_};
  }
  // Sliding-window layers hold positions 192.. only. What it cannot do: swa_test.cc.
  Session windowed() const {
    SessionOptions options;
    options.swa = SlidingWindow::window;
    Session session(model_, options);
    session.append_tokens(random_tokens(2 * kEraseTokens, 1));
    return session;
  }
  Session session(bool evicted) const {
    Session session = filled(model_, kEraseTokens);
    if (evicted) session.evict("random:recent=8", Budget::fraction(0.5));
    return session;
  }

  std::shared_ptr<Model> model_;
  std::shared_ptr<const Adapter> eraser_;
};

std::vector<Token> without(std::vector<Token> tokens, const std::vector<Span>& spans) {
  for (size_t i = spans.size(); i-- > 0;)
    tokens.erase(tokens.begin() + spans[i].begin, tokens.begin() + spans[i].end);
  return tokens;
}

TEST_P(EraseMatrixTest, WhatMustHoldAfterwards) {
  for (const bool evicted : {false, true}) {
    Session before = session(evicted);
    const std::string saved = snapshot_bytes(before);
    for (const Place& place : places()) {
      SCOPED_TRACE(std::string(place.name) + (evicted ? ", evicted" : ""));
      Session edited = before.fork();
      const EraseReport report = edited.erase(place.spans, options());
      EXPECT_EQ(edited.tokens(), without(before.tokens(), place.spans));
      EXPECT_EQ(report.spans.size(), place.spans.size());
      const SessionStats stats = edited.stats();
      if (evicted) {
        EXPECT_LE(stats.entries, before.stats().entries + 2 * 8 * 2) << "the budget stays";
      } else {
        EXPECT_EQ(stats.entries, stats.full_entries);
      }
      EXPECT_EQ(report.bytes_after, stats.bytes);
      const std::vector<Position> positions = edited.positions();
      EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end()));
      if (report.exactness == Exactness::exact) {
        EXPECT_EQ(stats.exact_tokens, stats.evicted ? 0 : stats.tokens) << "of an evicted cache nothing is";
        EXPECT_EQ(evicted, !report.note.empty());
        Session exact = fresh(model_, edited.tokens());
        if (evicted) exact.evict("random:recent=8", Budget::fraction(0.5));
        EXPECT_LT(from(exact, edited).relative, 1e-4);
      }
      Session again = Session::load(model_, (snapshot_bytes(edited), temporary_path("snapshot.kvs")));
      EXPECT_LT(from(edited, again).relative, 1e-5) << "transcript and cache agree in a snapshot";
      edited.append_tokens(random_tokens(20, 9));
      for (const float x : edited.logits()) ASSERT_TRUE(std::isfinite(x));
      edited.undo();
      EXPECT_EQ(snapshot_bytes(edited), saved) << "undo is bitwise";
    }
    EXPECT_EQ(snapshot_bytes(before), saved) << "the parent of forks is never changed";
  }
}

// Runs `erase` with failures further and further on, until it succeeds.
template <typename Erase>
int fail_everywhere(const Session& before, ErrorCode expected, Erase erase) {
  const std::string saved = snapshot_bytes(before);
  const size_t in_use = before.model()->pool().bytes_in_use;
  for (int step = 0;; step++) {
    Session session = before.fork();
    bool done = true;
    try {
      erase(session, step);
    } catch (const Error& e) {
      done = false;
      EXPECT_EQ(e.code(), expected) << e.what();
    } catch (const int&) {
      done = false;
      EXPECT_EQ(expected, ErrorCode::cancelled);
    }
    if (done) return step;
    EXPECT_EQ(snapshot_bytes(session), saved) << "failed at step " << step;
    EXPECT_EQ(before.model()->pool().bytes_in_use, in_use) << "failed at step " << step;
    if (step > 3000) {
      ADD_FAILURE() << "it never succeeds";
      return step;
    }
  }
}

TEST_P(EraseMatrixTest, AFailureAtAnyStepChangesNothing) {
  auto& pool = *implementation(*model_)->page_pool();
  enum class Kind { full, evicted, windowed };
  std::vector<Kind> kinds = {Kind::full, Kind::evicted};
  if (model_->info().window > 0) kinds.push_back(Kind::windowed);
  for (const Kind kind : kinds) {
    SCOPED_TRACE(static_cast<int>(kind));
    std::vector<Span> spans = {{3, 9}, {60, 90}, {150, 151}};
    if (kind == Kind::windowed) spans = {{250, 256}, {300, 320}, {350, 351}};
    const Session before = kind == Kind::windowed ? windowed() : session(kind == Kind::evicted);
    EraseOptions with = options();
    const int cancels = fail_everywhere(before, ErrorCode::cancelled, [&](Session& session, int step) {
      int calls = 0;
      with.progress = [&](size_t, size_t) { return calls++ < step; };
      session.erase(spans, with);
    });
    const int throws = fail_everywhere(before, ErrorCode::cancelled, [&](Session& session, int step) {
      int calls = 0;
      with.progress = [&](size_t, size_t) {
        if (calls++ >= step) throw step;
        return true;
      };
      session.erase(spans, with);
    });
    EXPECT_EQ(cancels, throws);
    with.progress = nullptr;
    const int reservations = fail_everywhere(before, ErrorCode::no_memory, [&](Session& session, int step) {
      pool.set_limit(pool.stats().bytes_in_use + step * pool.page_bytes());
      try {
        session.erase(spans, with);
      } catch (...) {
        pool.set_limit(0);
        throw;
      }
      pool.set_limit(0);
    });
    const EraseReport report = before.fork().erase(spans, with);
    EXPECT_EQ(cancels > 0, report.tokens_recomputed > 0) << "each block is a step";
    EXPECT_GT(reservations, 0) << "an edit beside its parent needs pages";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Methods, EraseMatrixTest,
    testing::Combine(testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                     testing::Values("recompute", "mend", "steer", "repair", "shift", "drop")),
    [](const auto& info) { return std::get<0>(info.param) + "_" + std::get<1>(info.param); });

// The table has no method that the matrix leaves out.
TEST(EraseMatrixTest, KnowsEveryMethod) {
  std::vector<std::string> names;
  for (const EraseMethodInfo& method : erase_methods()) names.push_back(method.name);
  EXPECT_EQ(names, (std::vector<std::string>{"recompute", "mend", "steer", "repair", "shift", "drop"}));
}

}  // namespace
}  // namespace kvedit
