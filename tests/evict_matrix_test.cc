// Every policy, at several budgets, at once and as a cap while generating, before and after an erase: what
// must hold.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "evict/policy.h"
#include "session_testing.h"

namespace kvedit {
namespace {

constexpr int kEvictTokens = 1500;
constexpr double kKeep[] = {0.5, 0.25, 0.15, 0.1, 0.05};

class EvictMatrixTest : public testing::TestWithParam<std::string> {
 protected:
  EvictMatrixTest() {
    ModelOptions options = exact_options();
    options.threads = 1;
    TinySpec spec = spec_of(GetParam());
    spec.context = 2048;
    if (GetParam() == "gemma3") spec.window = 100;  // room for what is always kept
    model_ = load(spec, options);
    eraser_ = random_eraser(*model_);
  }

  // Sinks of full-attention layers and recent entries are there; nothing is twice.
  void expect_kept(const Session& session, const Policy& policy) const {
    const Cache cache = cache_of(session);
    const std::vector<Position> transcript = session.positions();
    const auto recent = std::span(transcript).subspan(transcript.size() - 1 - policy.recent, policy.recent);
    const int window = model_->info().window;
    for (int layer = 0; layer < cache.layers(); layer++) {
      const bool full = window == 0 || layer % 2 == 1;  // of the tiny gemma3, every second one
      for (int head = 0; head < cache.kv_heads(); head++) {
        const std::vector<Position> lane = cache.lane(layer, head).positions();
        EXPECT_TRUE(std::is_sorted(lane.begin(), lane.end()));
        EXPECT_EQ(std::adjacent_find(lane.begin(), lane.end()), lane.end());
        for (int sink = 0; full && sink < policy.sinks; sink++) EXPECT_EQ(lane.at(sink), transcript[sink]);
        const size_t reach = full ? recent.size() : std::min<size_t>(recent.size(), window - 1);
        EXPECT_TRUE(std::includes(lane.begin(), lane.end(), recent.end() - reach, recent.end()))
            << "layer " << layer;
      }
    }
  }
  void expect_alive(Session& session) const {
    const Generation made = session.generate({.max_tokens = 5, .temperature = 2, .seed = 3});
    EXPECT_GT(made.tokens.size(), 0U);
    for (const float x : session.logits()) ASSERT_TRUE(std::isfinite(x));
  }

  std::shared_ptr<Model> model_;
  std::shared_ptr<const Adapter> eraser_;
};

TEST_P(EvictMatrixTest, AtOnceBeforeAndAfterAnErase) {
  const Session full = filled(model_, kEvictTokens);
  const size_t lanes = static_cast<size_t>(model_->info().layers) * model_->info().kv_heads;
  for (const std::string& text : policy_texts(*model_)) {
    const Policy policy = make_policy(text);
    for (const double keep : kKeep) {
      for (const bool erase_first : {false, true}) {
        SCOPED_TRACE(text + " at " + std::to_string(keep) + (erase_first ? ", erased before" : ""));
        Session session = full.fork();
        if (erase_first) session.erase(Span{300, 340}, {.method = "steer", .adapter = eraser_});
        const size_t before = session.stats().entries;
        const EvictReport report = session.evict(text, Budget::fraction(keep));
        const auto after = static_cast<double>(report.entries_after);
        EXPECT_EQ(report.entries_after, session.stats().entries);
        EXPECT_LE(after, keep * static_cast<double>(before) + static_cast<double>(lanes));
        if (model_->info().window == 0) {
          EXPECT_GE(after, keep * static_cast<double>(before) - static_cast<double>(lanes * kPageEntries));
        }
        EXPECT_LE(session.stats().bytes,
                  (report.entries_after / kPageEntries + lanes) * model_->pool().page_bytes);
        expect_kept(session, policy);
        for (const char* method : {"shift", "steer"}) {
          Session erased = session.fork();
          erased.erase(Span{700, 720}, {.method = method, .adapter = eraser_});
          EXPECT_LE(erased.stats().entries, report.entries_after + 20 * lanes);
          expect_alive(erased);
        }
        expect_alive(session);
      }
    }
  }
}

TEST_P(EvictMatrixTest, AsACapWhileGenerating) {
  const Session full = filled(model_, kEvictTokens);
  const size_t lanes = static_cast<size_t>(model_->info().layers) * model_->info().kv_heads;
  for (const std::string& text : policy_texts(*model_)) {
    for (const double keep : kKeep) {
      SCOPED_TRACE(text + " at " + std::to_string(keep));
      Session session = full.fork();
      session.set_cap(text, Budget::tokens(static_cast<int>(keep * kEvictTokens)));
      session.erase(Span{100, 110}, {.method = "shift"});
      for (int i = 0; i < 3; i++) {
        expect_alive(session);
        EXPECT_LE(session.stats().entries, static_cast<size_t>(keep * kEvictTokens) * lanes);
      }
      session.append_tokens(random_tokens(150, 7));
      EXPECT_LE(session.stats().entries, static_cast<size_t>(keep * kEvictTokens) * lanes);
      EXPECT_GT(session.stats().cap_evictions, 1);
      expect_alive(session);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, EvictMatrixTest, testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
