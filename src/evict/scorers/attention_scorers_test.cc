// Scorers that are attention alone - TOVA, SAGE-KV, H2O - against whole attention matrices.
#include "evict/attention_testing.h"
#include "kvedit/error.h"

namespace kvedit {
namespace {

TEST(AttentionScorersTest, TovaIsTheLastQuerysAttentionMeanOverTheLayer) {
  for (int group : {1, 3, 4}) {
    EvictCase c({.group = group, .window = 40, .seed = 31});
    if (group == 3) c.cache.keep(0, 1, range(20, 150));
    const Hparams& h = c.network.hparams();
    for (int layer = 0; layer < c.cache.layers(); layer++) {
      std::vector<double> expected(150);  // [position]
      for (int head = 0; head < h.heads; head++) {
        const SlowAttention slow = slow_attention(c, layer, head, 1);
        for (size_t j = 0; j < slow.positions.size(); j++) {
          expected[slow.positions[j]] += slow.weights[0][j] / h.heads;
        }
      }
      const LayerScores scores = make_policy("tova").scorer->score(c.view(layer));
      for (int head = 0; head < h.kv_heads; head++) {
        const auto positions = c.cache.lane(layer, head).positions();
        ASSERT_EQ(scores[head].size(), positions.size());
        for (size_t j = 0; j < positions.size(); j++) {
          ASSERT_NEAR(scores[head][j], expected[positions[j]], 2e-6) << "entry " << j;
        }
      }
    }
  }
}

TEST(AttentionScorersTest, SageIsTheLastQuerysAttentionHeadByHead) {
  for (int group : {1, 3, 4}) {
    const EvictCase c({.group = group, .window = 40, .seed = 32});
    for (const bool mean : {true, false}) {
      const Policy policy = make_policy(mean ? "sage" : "sage:group=max");
      for (int layer = 0; layer < 2; layer++) {
        const LayerScores scores = policy.scorer->score(c.view(layer));
        for (int head = 0; head < 2; head++) {
          const auto range = slow_competing(c, layer, head, 1);
          for (int j = range.first; j < range.second; j++) {
            double expected = 0;
            for (int h = head * group; h < (head + 1) * group; h++) {
              const double w = slow_attention(c, layer, h, 1).weights[0][j];
              expected = mean ? expected + w / group : std::max(expected, w);
            }
            ASSERT_NEAR(scores[head][j], expected, 2e-6) << "entry " << j;
          }
        }
      }
    }
  }
}

TEST(AttentionScorersTest, H2oIsTheCapturedMass) {
  EvictCase c({});
  EXPECT_TRUE(make_policy("h2o").needs().attention_mass);
  for (int lane = 0; lane < 4; lane++) {
    c.captures.mass.emplace_back();
    for (int j = 0; j < 150; j++) c.captures.mass.back().push_back(static_cast<float>(lane * 1000 + j));
  }
  const LayerScores scores = make_policy("h2o").scorer->score(c.view(1));
  ASSERT_EQ(scores.size(), 2U);
  EXPECT_EQ(scores[1], c.captures.mass[3]);
  c.captures.mass.pop_back();
  EXPECT_EQ(error_of([&] { make_policy("h2o").scorer->score(c.view(1)); }).first,
            ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace kvedit
