// Scorers that look at keys alone - K-norm, KeyDiff - against their definitions.
#include "evict/attention_testing.h"

namespace kvedit {
namespace {

// Full lanes, lanes with holes and short pages, sliding layers, both element types.
template <typename Check>
void for_cases(const Check& check) {
  for (CacheType type : {CacheType::f32, CacheType::f16}) {
    check(EvictCase({.type = type, .seed = 41}));
    check(EvictCase({.window = 40, .type = type, .seed = 42}));
  }
  EvictCase evicted({.seed = 43});
  evicted.cache.keep(0, 1, range(20, 150));
  evicted.cache.remove({30, 45});
  check(evicted);
}

TEST(KeyScorersTest, KNormPrefersShortKeys) {
  for_cases([](const EvictCase& c) {
    for (int layer = 0; layer < 2; layer++) {
      const LayerScores scores = make_policy("k-norm").scorer->score(c.view(layer));
      for (int head = 0; head < 2; head++) {
        const Matrix keys = slow_attention(c, layer, head * 3, 1).keys;
        ASSERT_EQ(scores[head].size(), keys.size());
        for (size_t j = 0; j < keys.size(); j++) ASSERT_NEAR(scores[head][j], -norm(keys[j]), 1e-5);
      }
    }
  });
}

TEST(KeyScorersTest, KeyDiffPrefersKeysUnlikeTheMeanOfThoseInReach) {
  for_cases([](const EvictCase& c) {
    for (int layer = 0; layer < 2; layer++) {
      const LayerScores scores = make_policy("keydiff").scorer->score(c.view(layer));
      for (int head = 0; head < 2; head++) {
        const Matrix keys = slow_attention(c, layer, head * 3, 1).keys;
        const int begin = slow_competing(c, layer, head, 1).first;
        std::vector<double> anchor(EvictCase::kKeyDim);
        for (size_t j = begin; j < keys.size(); j++) {
          for (size_t i = 0; i < anchor.size(); i++) anchor[i] += keys[j][i] / norm(keys[j]);
        }
        ASSERT_EQ(scores[head].size(), keys.size());
        for (size_t j = begin; j < keys.size(); j++) {
          double dot = 0;
          for (size_t i = 0; i < anchor.size(); i++) dot += anchor[i] * keys[j][i];
          ASSERT_NEAR(scores[head][j], -dot / norm(anchor) / norm(keys[j]), 2e-6) << "entry " << j;
        }
      }
    }
  });
}

}  // namespace
}  // namespace kvedit
