// LaProx against the product it approximates, term by term.
#include <gtest/gtest.h>

#include "evict/attention_testing.h"

namespace kvedit {
namespace {

struct Definition {
  const char* text;
  int window;
  int kernel;
  bool max_pool;
  bool joint;
  bool l1;
  enum { layer_sum, output_norm, none } normalise;
  double near = 1;
};

// v W_h, with the weight of a post-attention norm.
std::vector<double> projected(const EvictCase& c, int layer, int query_head, const std::vector<double>& v) {
  const Hparams& h = c.network.hparams();
  const LayerWeights& weights = c.network.layers()[layer];
  std::vector<double> out(h.d_model);
  for (int i = 0; i < h.d_model; i++) {
    const auto* row = static_cast<const ggml_fp16_t*>(weights.wo->data) +
                      (static_cast<size_t>(i) * h.heads + query_head) * h.value_dim;
    for (int d = 0; d < h.value_dim; d++) out[i] += v[d] * ggml_fp16_to_fp32(row[d]);
    if (weights.post_attention_norm)
      out[i] *= static_cast<const float*>(weights.post_attention_norm->data)[i];
  }
  return out;
}

// [n]: the mean of |column| |row| over the group; or |sum_h A_h[:,j] (v_j W_h)|_F, that matrix written out.
std::vector<double> slow_terms(const EvictCase& c, int layer, int head, const Definition& d) {
  const Hparams& h = c.network.hparams();
  std::vector<SlowAttention> heads;
  for (int q = head * h.group(); q < (head + 1) * h.group(); q++) {
    heads.push_back(slow_attention(c, layer, q, d.window));
  }
  const size_t n = heads[0].positions.size();
  std::vector<double> terms(n);
  for (size_t j = 0; j < n; j++) {
    Matrix part(d.window, std::vector<double>(h.d_model));
    for (int g = 0; g < h.group(); g++) {
      const auto row = projected(c, layer, head * h.group() + g, heads[g].values[j]);
      std::vector<double> column;
      double l1 = 0;
      for (int t = 0; t < d.window; t++) {
        column.push_back(heads[g].weights[t][j]);
        l1 += column[t];
        for (int i = 0; i < h.d_model; i++) part[t][i] += column[t] * row[i];
      }
      if (!d.joint) terms[j] += (d.l1 ? l1 : norm(column)) * norm(row) / h.group();
    }
    double squares = 0;
    for (const auto& row : part) squares += norm(row) * norm(row);
    if (d.joint) terms[j] = std::sqrt(squares);
  }
  return terms;
}

// |O|_F of a layer over the window.
double slow_output_norm(const EvictCase& c, int layer, int window) {
  const Hparams& h = c.network.hparams();
  Matrix output(window, std::vector<double>(h.d_model));
  for (int q = 0; q < h.heads; q++) {
    const SlowAttention slow = slow_attention(c, layer, q, window);
    for (int t = 0; t < window; t++) {
      const auto part = projected(c, layer, q, weighted(slow.weights[t], slow.values));
      for (int i = 0; i < h.d_model; i++) output[t][i] += part[i];
    }
  }
  double squares = 0;
  for (const auto& row : output) squares += norm(row) * norm(row);
  return std::sqrt(squares);
}

void expect_laprox(const EvictCase& c, const Definition& d) {
  const Policy policy = make_policy(d.text);
  for (int layer = 0; layer < c.cache.layers(); layer++) {
    Matrix expected;
    double sum = 0;
    for (int head = 0; head < c.cache.kv_heads(); head++) {
      const auto [begin, end] = slow_competing(c, layer, head, d.window);
      const auto terms = slow_terms(c, layer, head, d);
      expected.push_back(slow_pool(terms, begin, end, d.kernel, d.max_pool));
      for (int j = begin; d.near < 1 && j < end; j++) {
        double& score = expected.back()[j - begin];
        score = std::max(terms[j], d.near * score);
      }
      for (const double s : expected.back()) sum += s;
    }
    const double by = d.normalise == Definition::none        ? 1
                      : d.normalise == Definition::layer_sum ? sum
                                                             : slow_output_norm(c, layer, d.window);
    const LayerScores scores = policy.scorer->score(c.view(layer));
    for (int head = 0; head < c.cache.kv_heads(); head++) {
      const auto competing = slow_competing(c, layer, head, d.window);
      for (int j = competing.first; j < competing.second; j++) {
        const double wanted = expected[head][j - competing.first] / by;
        // Products of the projection in f32: about 1e-6 of the largest term of a sum.
        ASSERT_NEAR(scores[head][j], wanted, 2e-5 * wanted + 1e-6 / by)
            << d.text << " layer " << layer << " head " << head << " entry " << j;
      }
    }
  }
}

constexpr Definition kDefinitions[] = {
    {"laprox:window=8", 8, 7, false, false, false, Definition::layer_sum},
    {"laprox:window=5,kernel=1,normalise=none", 5, 1, false, false, false, Definition::none},
    {"laprox:window=8,kernel=5,pool=max,norm=l1,normalise=output_norm", 8, 5, true, false, true,
     Definition::output_norm},
    {"laprox-joint:window=8", 8, 11, true, true, false, Definition::output_norm, 0.5},
    {"laprox-joint:window=8,kernel=7,near=1", 8, 7, true, true, false, Definition::output_norm},
    {"laprox-joint:window=5,kernel=1,normalise=none", 5, 1, false, true, false, Definition::none},
    {"laprox-joint:window=8,kernel=3,pool=avg,near=0.9,normalise=layer_sum", 8, 3, false, true, false,
     Definition::layer_sum, 0.9}};

TEST(LaproxTest, IsItsDefinitionForGroupsOf1And3And4) {
  for (const int group : {1, 3, 4}) {
    for (const CacheType type : {CacheType::f32, CacheType::f16}) {
      const EvictCase c({.group = group, .queries = 8, .type = type, .seed = 21});
      for (const Definition& d : kDefinitions) expect_laprox(c, d);
    }
  }
}

TEST(LaproxTest, FoldsThePostAttentionNormIn) {
  const EvictCase c({.queries = 8, .post_norm = true});
  for (const Definition& d : kDefinitions) expect_laprox(c, d);
}

TEST(LaproxTest, ReadsLanesAlreadyEvictedAndSlidingOnes) {
  EvictCase c({.queries = 8, .window = 40});
  std::vector<int> entries;
  for (int j = 0; j < 150; j += j % 7 == 0 ? 3 : 1) entries.push_back(j);
  c.cache.keep(0, 1, entries);
  c.cache.keep(1, 0, range(142, 150));  // nothing of it competes, yet it is part of the layer's output
  c.cache.remove({30, 45});
  for (const Definition& d : kDefinitions) expect_laprox(c, d);
}

// The joint norm is the exact one: taking the pair out of the product changes it by that much.
TEST(LaproxTest, JointIsWhatThePairAddsToTheOutput) {
  const EvictCase c({.layers = 1, .kv_heads = 1, .entries = 40, .queries = 4});
  const LayerScores scores =
      make_policy("laprox-joint:window=4,kernel=1,normalise=none").scorer->score(c.view(0));
  const Hparams& h = c.network.hparams();
  for (const int j : {0, 7, 35}) {
    double squares = 0;
    for (int t = 0; t < 4; t++) {
      std::vector<double> change(h.d_model);
      for (int q = 0; q < h.heads; q++) {
        const SlowAttention slow = slow_attention(c, 0, q, 4);
        auto without = slow.weights[t];
        without[j] = 0;
        const auto all = projected(c, 0, q, weighted(slow.weights[t], slow.values));
        const auto rest = projected(c, 0, q, weighted(without, slow.values));
        for (int i = 0; i < h.d_model; i++) change[i] += all[i] - rest[i];
      }
      squares += norm(change) * norm(change);
    }
    EXPECT_NEAR(scores[0][j], std::sqrt(squares), 1e-5 * std::sqrt(squares));
  }
}

}  // namespace
}  // namespace kvedit
