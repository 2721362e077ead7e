// Expected Attention against its equations, with whole matrices: rotations built and averaged as matrices,
// the covariance from the centred queries.
#include "evict/attention_testing.h"
#include "kvedit/error.h"

namespace kvedit {
namespace {

constexpr int kDim = EvictCase::kKeyDim;

struct Case : EvictCase {
  Case(const EvictSetup& setup, int tokens) : EvictCase(setup) {
    const Hparams& h = network.hparams();
    std::mt19937 random(setup.seed + 100);
    std::normal_distribution<float> normal;
    captures.counted = tokens;
    for (int head = 0; head < h.layers * h.heads; head++) {
      if (head % h.heads == 0) {
        captures.query_means.emplace_back();
        captures.query_moments.emplace_back();
      }
      std::vector<float> mean(kDim);
      for (float& m : mean) m = normal(random);
      Matrix of_head;
      for (int t = 0; t < tokens; t++) {
        of_head.emplace_back();
        for (int i = 0; i < kDim; i++) of_head.back().push_back(mean[i] + 0.5 * normal(random));
      }
      const auto mean_of = [&](const auto& value) {
        double sum = 0;
        for (const auto& q : of_head) sum += value(q);
        return sum / tokens;
      };
      std::vector<double> means;
      for (int i = 0; i < kDim; i++) means.push_back(mean_of([&](const auto& q) { return q[i]; }));
      for (int i = 0; i < kDim; i++) {
        for (int j = 0; j <= i; j++) {
          captures.query_moments.back().push_back(static_cast<float>(
              tokens * mean_of([&](const auto& q) { return (q[i] - means[i]) * (q[j] - means[j]); })));
        }
      }
      captures.query_means.back().insert(captures.query_means.back().end(), means.begin(), means.end());
      queries.push_back(of_head);
    }
  }
  std::vector<Matrix> queries;  // [layer * heads + head][tokens][key_dim]
};

struct Reading {
  int future = 512;
  int skip = 4;
  bool covariance = true;
  bool vnorm = true;
  double epsilon = 0;
};

// The rotation of a layer as a matrix, averaged over the positions to come.
Matrix mean_rotation(const Rope& rope, Position first, int future) {
  Matrix mean(kDim, std::vector<double>(kDim));
  for (int i = rope.dims(); i < kDim; i++) mean[i][i] = 1;
  for (Position p = first; p < first + future; p++) {
    for (size_t i = 0; i < rope.frequencies.size(); i++) {
      const int a = rope.first(static_cast<int>(i)), b = rope.second(static_cast<int>(i));
      const double angle = p * rope.frequencies[i];
      mean[a][a] += std::cos(angle) / future;
      mean[a][b] -= std::sin(angle) / future;
      mean[b][a] += std::sin(angle) / future;
      mean[b][b] += std::cos(angle) / future;
    }
  }
  return mean;
}

std::vector<double> times(const Matrix& m, const std::vector<double>& x) {
  std::vector<double> y;
  for (const auto& row : m) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); i++) sum += row[i] * x[i];
    y.push_back(sum);
  }
  return y;
}

// [begin, n) of one lane.
std::vector<double> reference(const Case& c, int layer, int head, int begin, const Reading& o) {
  const Hparams& h = c.network.hparams();
  const SlowAttention lane = slow_attention(c, layer, head * h.group(), 1);
  const Matrix turn = mean_rotation((*h.ropes)[layer], c.cache.last_position() + 1, o.future);
  std::vector<double> scores(lane.keys.size() - begin);
  for (int q = head * h.group(); q < (head + 1) * h.group(); q++) {
    const Matrix& queries = c.queries[layer * h.heads + q];
    const auto n = static_cast<double>(queries.size());
    std::vector<double> mean(kDim);
    for (const auto& query : queries) {
      for (int i = 0; i < kDim; i++) mean[i] += query[i] / n;
    }
    std::vector<double> exponents;
    for (size_t j = begin; j < lane.keys.size(); j++) {
      const auto& key = lane.keys[j];
      // k . R q has this mean and variance over the queries.
      const auto reach = [&](const std::vector<double>& query) {
        const auto turned = times(turn, query);
        double dot = 0;
        for (int i = 0; i < kDim; i++) dot += turned[i] * key[i];
        return dot * h.attention_scale;
      };
      double variance = 0;
      for (const auto& query : queries) variance += std::pow(reach(query) - reach(mean), 2) / n;
      exponents.push_back(reach(mean) + (o.covariance ? variance / 2 : 0));
    }
    const auto weights = softmax(exponents);
    for (size_t j = 0; j < scores.size(); j++) scores[j] += weights[j] / h.group();
  }
  for (size_t j = 0; j < scores.size(); j++) {
    if (o.vnorm) scores[j] = (scores[j] + o.epsilon) * norm(lane.values[begin + j]);
  }
  return scores;
}

void expect_scores(const Case& c, const char* text, const Reading& o) {
  for (int layer = 0; layer < c.cache.layers(); layer++) {
    const LayerScores scores = make_policy(text).scorer->score(c.view(layer));
    float largest = 0;
    std::vector<int> begins;
    for (int head = 0; head < c.cache.kv_heads(); head++) {
      const auto positions = c.cache.lane(layer, head).positions();
      int begin = slow_competing(c, layer, head, 1).first;
      while (positions[begin] < o.skip) begin++;
      begins.push_back(begin);
      const auto expected = reference(c, layer, head, begin, o);
      ASSERT_EQ(scores[head].size(), positions.size());
      for (size_t j = begin; j < positions.size(); j++) {
        ASSERT_NEAR(scores[head][j], expected[j - begin], 2e-5 * (0.01 + expected[j - begin]))
            << text << " layer " << layer << " head " << head << " entry " << j;
        largest = std::max(largest, scores[head][j]);
      }
    }
    for (int head = 0; head < c.cache.kv_heads(); head++) {
      for (int j = 0; j < begins[head]; j++) EXPECT_EQ(scores[head][j], largest) << "skipped";
    }
  }
}

TEST(ExpectedAttentionTest, IsItsEquationsForGroupsOf1And3And4) {
  for (int group : {1, 3, 4}) {
    const Case c({.group = group, .seed = 51}, 60);
    expect_scores(c, "expected-attention", {});
    expect_scores(c, "expected-attention:epsilon=0.02,future=7,skip=9",
                  {.future = 7, .skip = 9, .epsilon = 0.02});
    expect_scores(c, "expected-attention:covariance=no", {.covariance = false});
    expect_scores(c, "expected-attention:vnorm=no", {.vnorm = false});
  }
  expect_scores(Case({.type = CacheType::f16, .seed = 52}, 60), "expected-attention", {});
}

TEST(ExpectedAttentionTest, SlidingAndEvictedLanesCountWhatTheyHold) {
  expect_scores(Case({.window = 40, .seed = 53}, 60), "expected-attention", {});
  Case evicted({.seed = 54}, 60);
  evicted.cache.keep(0, 1, range(20, 150));
  evicted.cache.keep(1, 0, range(2, 100));
  expect_scores(evicted, "expected-attention", {});
}

TEST(ExpectedAttentionTest, RefusesCapturesThatDoNotFit) {
  Case c({}, 20);
  c.captures.query_moments[0].pop_back();
  const auto [code, message] = error_of([&] { make_policy("expected-attention").scorer->score(c.view(0)); });
  EXPECT_EQ(code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace kvedit
