// Combinators against their papers' algorithms, written out for one lane or layer at a time.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "evict/evict_testing.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr int kRecent = 8;
constexpr const char* kPair = "snapkv+uniform:window=8,recent=8,kernel=3";

// Indices of the highest of `from`, best first, ties to the earlier one.
std::vector<int> ranked(const std::vector<double>& scores, std::vector<int> from) {
  std::stable_sort(from.begin(), from.end(), [&](int a, int b) { return scores[a] > scores[b]; });
  return from;
}

// |v W_h|_1, mean over the group's heads.
std::vector<double> slow_value_norms(const EvictCase& c, int layer, int head) {
  const Hparams& h = c.network.hparams();
  const auto* wo = static_cast<const ggml_fp16_t*>(c.network.layers()[layer].wo->data);
  const Rows rows = read_rows(c.cache.lane(layer, head), c.cache.pool()->shape());
  std::vector<double> norms(rows.positions.size());
  for (size_t j = 0; j < norms.size(); j++) {
    for (int q = head * h.group(); q < (head + 1) * h.group(); q++) {
      for (int i = 0; i < h.d_model; i++) {
        double x = 0;
        for (int d = 0; d < h.value_dim; d++) {
          x += rows.values[j * h.value_dim + d] *
               ggml_fp16_to_fp32(wo[(static_cast<size_t>(i) * h.heads + q) * h.value_dim + d]);
        }
        norms[j] += std::fabs(x) / h.group();
      }
    }
  }
  return norms;
}

TEST(CriticalTest, ChoosesTheSecondHalfByScoreTimesValueNorm) {
  for (const int group : {1, 3, 4}) {
    const EvictCase c({.group = group, .entries = 200, .queries = 8, .type = CacheType::f16});
    const Policy base = make_policy(kPair);
    const auto of_base = c.select(base, Budget::fraction(0.3));
    const auto kept =
        c.select(make_policy("critical(snapkv+uniform):window=8,recent=8,kernel=3,epsilon=0.01"),
                 Budget::fraction(0.3));
    for (int lane = 0; lane < 4; lane++) {
      const int layer = lane / 2, head = lane % 2;
      const int count = static_cast<int>(of_base[lane].size()) - 4 - kRecent;
      const LayerScores scores = base.scorer->score(c.view(layer));
      std::vector<double> first(scores[head].begin(), scores[head].end()),
          second = slow_value_norms(c, layer, head);
      for (size_t j = 0; j < second.size(); j++) second[j] *= first[j] + 0.01;
      const auto order = ranked(first, range(4, 200 - kRecent));
      std::vector<int> expected(order.begin(), order.begin() + count / 2);
      const auto rest = ranked(second, {order.begin() + count / 2, order.end()});
      expected.insert(expected.end(), rest.begin(), rest.begin() + (count - count / 2));
      for (const int j : range(0, 4)) expected.push_back(j);
      for (const int j : range(200 - kRecent, 200)) expected.push_back(j);
      std::sort(expected.begin(), expected.end());
      EXPECT_EQ(kept[lane], expected) << "group " << group << " lane " << lane;
    }
  }
}

TEST(CriticalTest, WithAFirstStageOfAllItIsItsBase) {
  const EvictCase c({.entries = 200});
  EXPECT_EQ(c.select(make_policy("critical(snapkv+adaptive):window=8,first=1"), Budget::fraction(0.3)),
            c.select(make_policy("snapkv+adaptive:window=8"), Budget::fraction(0.3)));
}

TEST(CriticalTest, RefusesABaseWithoutScoresOfItsOwn) {
  const auto [code, message] = error_of([] { make_policy("critical(mix(random;snapkv))"); });
  EXPECT_EQ(code, ErrorCode::invalid_argument);
  EXPECT_NE(message.find("mix"), std::string::npos) << message;
}

TEST(MixTest, TheSecondSpendsTheRestAmongWhatTheFirstLeft) {
  const EvictCase c({.entries = 200, .window = 60});
  const Budget budget = Budget::fraction(0.4);
  const Policy mix = make_policy("mix(streaming-llm;snapkv+adaptive):share=0.25,window=8,recent=8");
  const auto kept = c.select(mix, budget);
  const size_t all = count(kept);
  EXPECT_EQ(all, count(c.select(make_policy("random:recent=8"), budget)));
  EXPECT_EQ(c.select(make_policy("mix(streaming-llm;snapkv+adaptive):share=1,window=8,recent=8"), budget),
            c.select(make_policy("streaming-llm:recent=8"), budget));
  EXPECT_EQ(c.select(make_policy("mix(streaming-llm;snapkv+adaptive):share=0,window=8,recent=8"), budget),
            c.select(make_policy("snapkv+adaptive:window=8,recent=8"), budget));

  // Streaming's quarter of what competes is the last entries before the recent ones, the same in every lane.
  const size_t always = 2 * (4 + kRecent) + 2 * kRecent;  // no sinks in sliding lanes
  const size_t first = (all - always + 2) / 4;
  const LayerScores scores = make_policy("snapkv:window=8,kernel=7").scorer->score(c.view(0));
  for (int lane = 0; lane < 4; lane++) {
    const std::set<int> in(kept[lane].begin(), kept[lane].end());
    for (int j = 0; j < static_cast<int>(first / 4); j++)
      EXPECT_TRUE(in.contains(200 - kRecent - 1 - j)) << lane;
    if (lane > 1) continue;
    // What snapkv took of the others has higher scores than what it left.
    double least = 1, most = 0;
    for (int j = 4; j < 200 - kRecent - static_cast<int>(first / 4) - 1; j++) {
      if (in.contains(j)) least = std::min<double>(least, scores[lane][j]);
      if (!in.contains(j)) most = std::max<double>(most, scores[lane][j]);
    }
    EXPECT_GE(least, most);
  }
}

TEST(MixTest, ReportsTheProgressOfBoth) {
  const EvictCase c({.layers = 3});
  std::vector<size_t> done;
  EvictOptions options;
  options.progress = [&](size_t layer, size_t total) {
    EXPECT_EQ(total, 6U);
    done.push_back(layer);
    return true;
  };
  c.select(make_policy("mix(random;streaming-llm)"), Budget::fraction(0.5), options);
  EXPECT_EQ(done, (std::vector<size_t>{1, 2, 3, 4, 5, 6}));
  done.clear();  // critical looks at its base's scores again without making them again
  options.progress = [&](size_t layer, size_t total) {
    EXPECT_EQ(total, 3U);
    done.push_back(layer);
    return true;
  };
  c.select(make_policy("critical(random+uniform)"), Budget::fraction(0.5), options);
  EXPECT_EQ(done, (std::vector<size_t>{1, 2, 3}));
}

// Seven layers in three clear groups; the last two change the hidden state least.
TEST(SqueezeTest, TheMostSimilarLayersGiveUpBudget) {
  EvictCase c({.layers = 7, .kv_heads = 1, .entries = 500, .queries = 4});
  const std::vector<double> similar = {0.1, 0.5, 0.12, 0.55, 0.98, 0.09, 0.97};
  for (int layer = 0; layer < 7; layer++) {
    for (int t = 0; t < 4; t++) {
      c.captures.similarities.push_back(static_cast<float>(similar[layer] + (t % 2 ? 0.01 : -0.01)));
    }
  }
  // 100 a layer compete: 40 in the two squeezed ones, (700 - 80) / 5 = 124 in the others.
  const auto kept =
      c.select(make_policy("squeeze(random+uniform):least=0.4,sinks=0,recent=32"), Budget::tokens(132));
  for (int layer = 0; layer < 7; layer++) {
    EXPECT_EQ(kept[layer].size(), similar[layer] > 0.9 ? 72U : 156U) << layer;
  }
}

TEST(SqueezeTest, WithinALayerItIsItsBase) {
  EvictCase c({.layers = 3, .entries = 300, .queries = 8});
  c.captures.similarities.assign(3 * size_t{8}, 0.5F);
  for (int t = 0; t < 8; t++) c.captures.similarities[t] = 0.1F;
  for (int t = 0; t < 8; t++) c.captures.similarities[16 + t] = 0.9F;
  const auto kept = c.select(make_policy("squeeze(snapkv+adaptive):window=8"), Budget::fraction(0.3));
  for (int layer = 0; layer < 3; layer++) {
    const size_t of_layer = kept[2 * layer].size() + kept[2 * layer + 1].size();
    // The base with a budget that gives every layer so many.
    const auto alone = c.select(make_policy("snapkv+adaptive:window=8,recent=32"),
                                Budget::fraction(static_cast<double>(of_layer) / 600));
    EXPECT_EQ(kept[2 * layer], alone[2 * layer]) << layer;
    EXPECT_EQ(kept[2 * layer + 1], alone[2 * layer + 1]) << layer;
  }
}

TEST(SqueezeTest, FewerThanThreeLayersStayAlike) {
  EvictCase c({.layers = 2, .kv_heads = 1, .entries = 200, .queries = 2});
  c.captures.similarities = {0.1F, 0.1F, 0.9F, 0.9F};
  const auto kept = c.select(make_policy("squeeze(random+uniform)"), Budget::fraction(0.5));
  EXPECT_EQ(kept[0].size(), kept[1].size());
}

TEST(SqueezeTest, RefusesCapturesWithoutSimilarities) {
  const EvictCase c({});
  const auto [code, message] =
      error_of([&] { c.select(make_policy("squeeze(random+uniform)"), Budget::fraction(0.5)); });
  EXPECT_EQ(code, ErrorCode::invalid_argument);
  EXPECT_NE(message.find("0 similarities"), std::string::npos) << message;
}

}  // namespace
}  // namespace kvedit
