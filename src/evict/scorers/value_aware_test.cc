// Scorers that look at values against what their equations stand for: entries really dropped, the output
// really differentiated.
#include <functional>

#include "evict/attention_testing.h"

namespace kvedit {
namespace {

// Raw scores of a query head's entries, [entries].
using Terms = std::function<std::vector<double>(const SlowAttention&)>;

struct Setting {
  const char* text;
  int window;
  int kernel;
  bool maximum;
  const char* combine;  // over the group: mean, sum, max
};

std::vector<double> reference(const EvictCase& c, int layer, int head, const Setting& s, const Terms& terms) {
  const int group = c.network.hparams().group();
  const auto range = slow_competing(c, layer, head, s.window);
  std::vector<double> scores(range.second - range.first);
  for (int h = head * group; h < (head + 1) * group; h++) {
    const auto pooled = slow_pool(terms(slow_attention(c, layer, h, s.window)), range.first, range.second,
                                  s.kernel, s.maximum);
    for (size_t j = 0; j < scores.size(); j++) {
      if (std::string_view(s.combine) == "max") {
        scores[j] = std::max(scores[j], pooled[j]);
      } else {
        scores[j] += std::string_view(s.combine) == "mean" ? pooled[j] / group : pooled[j];
      }
    }
  }
  return scores;
}

// tolerance: relative to the layer's largest score.
void expect_terms(const EvictCase& c, const Setting& s, const Terms& terms, double tolerance) {
  const Policy policy = make_policy(s.text);
  for (int layer = 0; layer < c.cache.layers(); layer++) {
    const LayerScores scores = policy.scorer->score(c.view(layer));
    double largest = 0;
    for (int head = 0; head < c.cache.kv_heads(); head++) {
      for (double x : reference(c, layer, head, s, terms)) largest = std::max(largest, x);
    }
    for (int head = 0; head < c.cache.kv_heads(); head++) {
      const auto range = slow_competing(c, layer, head, s.window);
      const auto expected = reference(c, layer, head, s, terms);
      ASSERT_EQ(scores[head].size(), static_cast<size_t>(c.cache.lane(layer, head).size()));
      for (int j = range.first; j < range.second; j++) {
        ASSERT_NEAR(scores[head][j], expected[j - range.first], tolerance * largest)
            << s.text << " layer " << layer << " head " << head << " entry " << j;
      }
      for (size_t j = range.second; j < scores[head].size(); j++) {
        EXPECT_NEAR(scores[head][j], largest, 2 * tolerance * largest) << "of the window";
      }
    }
  }
}

// Groups of 1, 3 and 4, both element types, sliding layers, lanes already evicted.
void expect_everywhere(const Setting& s, const Terms& terms, double tolerance) {
  for (int group : {1, 3, 4}) {
    for (CacheType type : {CacheType::f32, CacheType::f16}) {
      expect_terms(EvictCase({.group = group, .queries = 8, .type = type, .seed = 21}), s, terms, tolerance);
    }
  }
  expect_terms(EvictCase({.queries = 8, .window = 40}), s, terms, tolerance);
  EvictCase evicted({.queries = 8});
  std::vector<int> entries;
  for (int j = 0; j < 150; j += j % 7 == 0 ? 3 : 1) entries.push_back(j);
  evicted.cache.keep(0, 1, entries);
  evicted.cache.keep(1, 0, range(20, 150));
  expect_terms(evicted, s, terms, tolerance);
}

std::vector<double> mean_weights(const SlowAttention& slow) {
  std::vector<double> mean(slow.positions.size());
  for (const auto& row : slow.weights) {
    for (size_t j = 0; j < mean.size(); j++) mean[j] += row[j] / static_cast<double>(slow.weights.size());
  }
  return mean;
}

// How far the output of these weights moves when entry j goes and the others share its weight.
double moved(std::vector<double> weights, const Matrix& values, size_t j) {
  const auto before = weighted(weights, values);
  const double left = 1 - weights[j];
  weights[j] = 0;
  for (double& w : weights) w /= left;
  return std::sqrt(squared_distance(before, weighted(weights, values)));
}

std::vector<double> caote(const SlowAttention& slow) {
  std::vector<double> scores;
  for (size_t j = 0; j < slow.values.size(); j++) scores.push_back(moved(mean_weights(slow), slow.values, j));
  return scores;
}

TEST(ValueAwareTest, CaoteIsTheOutputsMoveWhenAnEntryIsDropped) {
  // Weights in f32: about 1e-6 of the move.
  expect_everywhere({"caote:window=1,kernel=1", 1, 1, false, "mean"}, caote, 2e-5);
  expect_everywhere({"caote:window=5,kernel=7", 5, 7, false, "mean"}, caote, 2e-5);
  expect_everywhere({"caote:window=8,kernel=5,pool=max", 8, 5, true, "mean"}, caote, 2e-5);
}

TEST(ValueAwareTest, DropKvIsTheSquaredMoveSummedOverTheWindow) {
  const Terms dropped = [](const SlowAttention& slow) {
    std::vector<double> scores(slow.values.size());
    for (const auto& weights : slow.weights) {
      for (size_t j = 0; j < scores.size(); j++) scores[j] += std::pow(moved(weights, slow.values, j), 2);
    }
    return scores;
  };
  // The epsilon of 1e-6 weighs twice in a square.
  expect_everywhere({"dropkv:window=8,kernel=1", 8, 1, true, "mean"}, dropped, 2e-5);
  expect_everywhere({"dropkv:window=3", 3, 11, true, "mean"}, dropped, 2e-5);
}

// The squared first-order change of the outputs when z_j and v_j go to (1 - s) of themselves, by central
// differences in s.
Terms pruned(bool key, bool value) {
  return [=](const SlowAttention& slow) {
    constexpr double kStep = 1e-4;
    std::vector<double> scores(slow.values.size());
    for (const auto& row : slow.logits) {
      for (size_t j = 0; j < scores.size(); j++) {
        if (std::isinf(row[j])) continue;
        const auto output = [&](double s) {
          auto logits = row;
          Matrix values = slow.values;
          if (key) logits[j] *= 1 - s;
          if (value) {
            for (double& x : values[j]) x *= 1 - s;
          }
          return weighted(softmax(logits), values);
        };
        scores[j] += squared_distance(output(kStep), output(-kStep)) / (4 * kStep * kStep);
      }
    }
    return scores;
  };
}

TEST(ValueAwareTest, ObCacheIsTheOutputsDerivativeTowardsPruning) {
  // Central differences are good to about 1e-7, log of an f32 weight to 1e-6.
  expect_everywhere({"obcache:window=2,kernel=1,pruned=value", 2, 1, true, "sum"}, pruned(false, true), 5e-5);
  expect_everywhere({"obcache:window=2,kernel=1,pruned=key", 2, 1, true, "sum"}, pruned(true, false), 5e-5);
  expect_everywhere({"obcache:window=2", 2, 7, true, "sum"}, pruned(true, true), 5e-5);
}

TEST(ValueAwareTest, LavaIsWindowAttentionTimesTheLargestValue) {
  const auto check = [](const EvictCase& c, const Setting& s) {
    const Terms weights = mean_weights;
    const Policy policy = make_policy(s.text);
    for (int layer = 0; layer < c.cache.layers(); layer++) {
      const LayerScores scores = policy.scorer->score(c.view(layer));
      for (int head = 0; head < c.cache.kv_heads(); head++) {
        const auto range = slow_competing(c, layer, head, s.window);
        const auto expected = reference(c, layer, head, s, weights);
        const auto values = slow_attention(c, layer, head * c.network.hparams().group(), 1).values;
        double largest = 0;
        for (int j = range.first; j < range.second; j++) {
          double sum = 0;
          for (double x : values[j]) sum += std::abs(x);
          largest = std::max(largest, sum);
        }
        for (int j = range.first; j < range.second; j++) {
          ASSERT_NEAR(scores[head][j], expected[j - range.first] * largest, 2e-5 * largest) << s.text;
        }
      }
    }
  };
  for (int group : {1, 3, 4}) {
    check(EvictCase({.group = group, .queries = 8}), {"lava:window=8", 8, 7, true, "max"});
    check(EvictCase({.group = group, .window = 40, .type = CacheType::f16}),
          {"lava:window=5,kernel=3,pool=avg", 5, 3, false, "max"});
  }
}

TEST(ValueAwareTest, AnEntryThatHasAllTheWeightIsFinite) {
  EvictCase c({.layers = 1, .kv_heads = 1, .group = 1, .entries = 40, .queries = 1});
  for (float& q : c.captures.queries[0]) q = 0;
  c.captures.queries[0][0] = 1;
  std::vector<float> key(EvictCase::kKeyDim), value(EvictCase::kValueDim, 1.0F);
  key[0] = 1000;  // its logit: all others vanish
  const Position at[] = {3};
  c.cache.write(0, 0, at, key, value);
  for (const char* text : {"caote:kernel=1", "dropkv:kernel=1", "obcache:kernel=1", "lava:kernel=1"}) {
    const auto scores = make_policy(text).scorer->score(c.view(0))[0];
    for (float s : scores) EXPECT_TRUE(std::isfinite(s)) << text;
    for (int j = 0; j < 39; j++) EXPECT_LE(scores[j], scores[3]) << text << " entry " << j;
  }
}

}  // namespace
}  // namespace kvedit
