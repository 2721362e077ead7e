// Scorers against slow references from the papers' equations.
#include <algorithm>

#include "evict/attention_testing.h"

namespace kvedit {
namespace {

// SnapKVPress.score: mean over the window, pooling, mean over the group; entries [begin, end) compete.
std::vector<double> snapkv_reference(const EvictCase& c, int layer, int head, int window, int kernel,
                                     bool max_pool, int begin, int end) {
  const int group = c.network.hparams().group();
  std::vector<double> scores(end - begin);
  for (int h = head * group; h < (head + 1) * group; h++) {
    const auto weights = slow_attention(c, layer, h, window).weights;
    std::vector<double> mean(end - begin);
    for (int j = begin; j < end; j++) {
      for (int t = 0; t < window; t++) mean[j - begin] += weights[t][j] / window;
    }
    for (int j = 0; j < end - begin; j++) {
      double pooled = 0;
      for (int o = -kernel / 2; o <= kernel / 2; o++) {
        const double x = j + o >= 0 && j + o < end - begin ? mean[j + o] : 0;
        pooled = max_pool ? std::max(pooled, x) : pooled + x / kernel;
      }
      scores[j] += pooled / group;
    }
  }
  return scores;
}

void expect_snapkv(const EvictCase& c, const std::string& text, int window, int kernel, bool max_pool) {
  const Policy policy = make_policy(text);
  for (int layer = 0; layer < c.cache.layers(); layer++) {
    const LayerScores scores = policy.scorer->score(c.view(layer));
    float largest = 0;
    for (int head = 0; head < c.cache.kv_heads(); head++) {
      const auto positions = c.cache.lane(layer, head).positions();
      ASSERT_EQ(scores[head].size(), positions.size());
      int begin = 0, end = 0;
      const int sliding = c.network.hparams().window_of(layer);
      for (Position p : positions) {
        begin += sliding > 0 && p <= c.cache.last_position() + 1 - sliding;
        end += p < c.window_positions[c.captures.tokens - window];
      }
      end = std::max(begin, end);
      const auto expected = snapkv_reference(c, layer, head, window, kernel, max_pool, begin, end);
      for (int j = begin; j < end; j++) {
        // Logits and exp in f32: about 1e-6 of a weight.
        ASSERT_NEAR(scores[head][j], expected[j - begin], 2e-6 + 2e-5 * expected[j - begin])
            << text << " layer " << layer << " head " << head << " entry " << j;
        largest = std::max(largest, scores[head][j]);
      }
    }
    for (int head = 0; head < c.cache.kv_heads(); head++) EXPECT_GE(scores[head].back(), largest);
  }
}

TEST(ScorersTest, SnapKvIsItsDefinitionForGroupsOf1And3And4) {
  for (int group : {1, 3, 4}) {
    for (CacheType type : {CacheType::f32, CacheType::f16}) {
      const EvictCase c({.group = group, .queries = 8, .type = type, .seed = 11});
      expect_snapkv(c, "snapkv:window=8", 8, 7, false);
      expect_snapkv(c, "snapkv:window=5,kernel=1", 5, 1, false);
      expect_snapkv(c, "snapkv:window=8,kernel=5,pool=max", 8, 5, true);
    }
  }
}

TEST(ScorersTest, SnapKvOfSlidingLayersPoolsOnlyWhatCanBeReached) {
  const EvictCase c({.queries = 8, .window = 40});
  expect_snapkv(c, "snapkv:window=8,kernel=7", 8, 7, false);
  const EvictCase short_window({.queries = 8, .window = 6});  // nothing before the queries is reachable
  expect_snapkv(short_window, "snapkv:window=8,kernel=7", 8, 7, false);
}

TEST(ScorersTest, SnapKvReadsLanesAlreadyEvicted) {
  EvictCase c({.queries = 8});
  std::vector<int> entries;
  for (int j = 0; j < 150; j += j % 7 == 0 ? 3 : 1) entries.push_back(j);
  c.cache.keep(0, 1, entries);
  c.cache.keep(1, 0, range(20, 150));
  c.cache.remove({30, 45});
  expect_snapkv(c, "snapkv:window=8,kernel=7", 8, 7, false);
}

TEST(ScorersTest, SnapKvTakesTheQueriesThereAre) {
  const EvictCase c({.entries = 40, .queries = 6});  // window=32 asks for more
  const LayerScores scores = make_policy("snapkv").scorer->score(c.view(0));
  const auto expected = snapkv_reference(c, 0, 0, 6, 7, false, 0, 34);
  for (int j = 0; j < 34; j++) EXPECT_NEAR(scores[0][j], expected[j], 1e-5);
  const EvictCase whole({.entries = 6, .queries = 6});  // nothing comes before the window
  EXPECT_EQ(make_policy("snapkv").scorer->score(whole.view(0))[0], std::vector<float>(6));
}

TEST(ScorersTest, StreamingLlmScoresByPosition) {
  const EvictCase c({.entries = 100});
  const LayerScores scores = make_policy("streaming-llm").scorer->score(c.view(1));
  for (const auto& lane : scores) {
    for (int j = 0; j < 100; j++) EXPECT_EQ(lane[j], static_cast<float>(j));
  }
}

TEST(ScorersTest, RandomDependsOnSeedLaneAndPositionAlone) {
  EvictCase c({.entries = 100});
  const Policy policy = make_policy("random");
  const auto lots = [&](int layer, uint64_t seed) {
    LayerView view = c.view(layer);
    view.seed = seed;
    return policy.scorer->score(view);
  };
  const LayerScores before = lots(0, 5);
  EXPECT_EQ(before, lots(0, 5));
  EXPECT_NE(before, lots(0, 6));
  EXPECT_NE(before, lots(1, 5));
  EXPECT_NE(before[0], before[1]);
  double mean = 0;
  for (float s : before[0]) mean += s / 100;
  EXPECT_NEAR(mean, 0.5, 0.15);  // five standard deviations
  c.cache.keep(0, 0, range(10, 100));
  EXPECT_EQ(lots(0, 5)[0], std::vector<float>(before[0].begin() + 10, before[0].end()));
}

TEST(ScorersTest, WindowScorersRefuseCapturesThatDoNotFit) {
  EvictCase c({});
  const Policy policy = make_policy("snapkv");
  c.window_positions.pop_back();
  EXPECT_EQ(error_of([&] { policy.scorer->score(c.view(0)); }).first, ErrorCode::invalid_argument);
  c.captures = {};
  EXPECT_EQ(error_of([&] { policy.scorer->score(c.view(0)); }).first, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace kvedit
