// What a pass captures for scorers, on tiny models of every architecture, and passes that store nothing.
#include <cmath>
#include <numeric>
#include <random>

#include "cache/cache_testing.h"
#include "compute/engine.h"
#include "kvedit/session.h"
#include "session_testing.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

constexpr int kCapturedTokens = 100;

class CapturesTest : public testing::TestWithParam<std::string> {
 protected:
  CapturesTest() {
    TinySpec spec;
    spec.architecture = GetParam();
    if (spec.architecture == "gemma3") spec.window = 24;
    path_ = write_tiny_model(spec, temporary_path("captures.gguf"));
    network_ = Network::load(path_);
    const Hparams& h = network_->hparams();
    pool_ = PagePool::create({h.key_dim, h.value_dim, ElementType::f32});
    std::mt19937 random(7);
    for (Token& t : tokens_) t = static_cast<Token>(random() % 300);
  }

  // A pass over all tokens, in blocks of 32.
  void forward(Cache& cache, Captures& captures, bool read_only, int threads = 2) {
    Engine engine(network_, threads, LinearKernel::f32, 32);
    kvedit::Run run{&cache, tokens_, positions_, Logits::none, &captures};
    run.record = record_;
    run.read_only = read_only ? kCapturedTokens : 0;
    engine.forward({&run, 1});
  }
  Cache prefilled(Captures& captures) {
    const Hparams& h = network_->hparams();
    Cache cache(pool_, h.layers, h.kv_heads, h.ropes);
    cache.append(positions_);
    forward(cache, captures, false);
    return cache;
  }
  CaptureRequest record_{.window_queries = kCapturedTokens,
                         .attention_mass = true,
                         .query_statistics = true,
                         .first_counted = 4};
  std::string path_;
  std::shared_ptr<const Network> network_;
  std::shared_ptr<PagePool> pool_;
  std::vector<Token> tokens_ = std::vector<Token>(kCapturedTokens);
  std::vector<Position> positions_ = range(0, kCapturedTokens);
};

void expect_near(std::span<const float> a, std::span<const float> b, float tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); i++) ASSERT_NEAR(a[i], b[i], tolerance) << i;
}

TEST_P(CapturesTest, QueryStatisticsAreThoseOfTheQueriesTurnedBack) {
  Captures captures;
  prefilled(captures);
  const Hparams& h = network_->hparams();
  const int d = h.key_dim;
  EXPECT_EQ(captures.counted, kCapturedTokens - 4);
  for (int layer = 0; layer < h.layers; layer++) {
    const Rope& rope = (*h.ropes)[layer];
    std::vector<float> c(rope.frequencies.size()), s(c.size());
    for (int head = 0; head < h.heads; head++) {
      std::vector<double> means(d), moments(static_cast<size_t>(d) * d);
      std::vector<std::vector<double>> queries;
      for (int t = 4; t < kCapturedTokens; t++) {
        const float* captured = &captures.queries[layer][(static_cast<size_t>(t) * h.heads + head) * d];
        std::vector<double> q(captured, captured + d);
        for (double& x : q) x /= h.attention_scale;
        rope.turn(t, c, s);
        for (size_t i = 0; i < c.size(); i++) {
          double& a = q[rope.first(static_cast<int>(i))];
          double& b = q[rope.second(static_cast<int>(i))];
          const double back = a * c[i] + b * s[i];
          b = b * c[i] - a * s[i];
          a = back;
        }
        for (int i = 0; i < d; i++) means[i] += q[i] / captures.counted;
        queries.push_back(std::move(q));
      }
      for (const auto& q : queries) {
        for (int i = 0; i < d; i++) {
          for (int j = 0; j <= i; j++) moments[i * d + j] += (q[i] - means[i]) * (q[j] - means[j]);
        }
      }
      for (int i = 0; i < d; i++) {
        // f32 rotations and block sums: 1e-6 of what was summed.
        ASSERT_NEAR(captures.query_means[layer][head * d + i], means[i],
                    1e-5 * std::sqrt(moments[i * d + i] / captures.counted));
        for (int j = 0; j <= i; j++) {
          ASSERT_NEAR(captures.query_moments[layer][head * triangle(d) + triangle(i) + j], moments[i * d + j],
                      1e-5 * std::sqrt(moments[i * d + i] * moments[j * d + j]));
        }
      }
    }
  }
}

TEST_P(CapturesTest, QueryStatisticsDoNotDependOnTheThreads) {
  Captures one, two;
  record_.attention_mass = false;
  Cache cache = prefilled(one);
  forward(cache, one, true, 1);
  forward(cache, two, true, 2);
  EXPECT_EQ(one.query_means, two.query_means);
  EXPECT_EQ(one.query_moments, two.query_moments);
}

// Threads take items as they come, but add them up in one order.
TEST_P(CapturesTest, MassIsBitwiseTheSameOnEveryRun) {
  Captures first;
  Cache cache = prefilled(first);
  forward(cache, first, true, 2);
  for (int run = 0; run < 4; run++) {
    Captures again;
    forward(cache, again, true, 2);
    ASSERT_EQ(again.mass, first.mass) << run;
  }
}

TEST_P(CapturesTest, AReadOnlyPassSeesTheSameAndStoresNothing) {
  Captures written, read;
  Cache cache = prefilled(written);
  const Cache fork = cache.fork();  // shared pages: writing would be a fault
  const auto before = read_all(cache);
  forward(cache, read, true);
  EXPECT_EQ(read_all(cache), before);
  EXPECT_EQ(cache.shared_bytes(), cache.bytes());
  // The entries were written from the same queries' neighbours, so only the order of sums differs.
  for (int layer = 0; layer < network_->hparams().layers; layer++)
    expect_near(read.queries[layer], written.queries[layer], 1e-4F);
  for (size_t lane = 0; lane < read.mass.size(); lane++)
    expect_near(read.mass[lane], written.mass[lane], 1e-3F);
}

// On lanes of different lengths: attention as the captured queries and the held keys have it.
TEST_P(CapturesTest, MassOfAnEvictedCacheIsOverWhatIsHeld) {
  Captures ignored;
  Cache cache = prefilled(ignored);
  const Hparams& h = network_->hparams();
  for (int layer = 0; layer < h.layers; layer++) {
    for (int head = 0; head < h.kv_heads; head++) {
      std::vector<int> entries;
      for (int j = 0; j < kCapturedTokens; j += 1 + (layer + head + j) % 3) entries.push_back(j);
      cache.keep(layer, head, entries);
    }
  }
  Captures captures;
  forward(cache, captures, true);
  for (int layer = 0; layer < h.layers; layer++) {
    for (int head = 0; head < h.kv_heads; head++) {
      const Rows rows = read_rows(cache.lane(layer, head), pool_->shape());
      const size_t n = rows.positions.size();
      std::vector<float> mass(n);
      for (int row = 0; row < kCapturedTokens * h.group(); row++) {
        const int t = row / h.group();
        const int query_head = head * h.group() + row % h.group();
        const float* q =
            &captures.queries[layer][(static_cast<size_t>(t) * h.heads + query_head) * h.key_dim];
        std::vector<double> weights(n);
        double sum = 0;
        for (size_t e = 0; e < n; e++) {
          const int window = h.window_of(layer);
          if (rows.positions[e] > t || (window > 0 && rows.positions[e] <= t - window)) continue;
          double dot = 0;
          for (int i = 0; i < h.key_dim; i++) dot += static_cast<double>(q[i]) * rows.keys[e * h.key_dim + i];
          sum += weights[e] = std::exp(dot);
        }
        for (size_t e = 0; e < n && sum > 0; e++) mass[e] += static_cast<float>(weights[e] / sum);
      }
      expect_near(captures.mass[static_cast<size_t>(layer) * h.kv_heads + head], mass, 1e-3F);
    }
  }
}

// Policies that want all queries, again and again on what they evicted, and no pages beyond the
// cache's own but those that the pending token needs.
TEST_P(CapturesTest, WholePassPoliciesNeedNoMemoryAndGoOnEvicting) {
  ModelOptions options;
  options.threads = 2;
  options.cache = CacheType::f32;
  options.block_tokens = 64;
  for (const char* policy :
       {"h2o:recent=8", "expected-attention:recent=8", "ada-expected-attention:recent=8"}) {
    const auto model = Model::load(path_, options);
    Session session(model);
    std::vector<Token> text;
    for (int i = 0; i < 4; i++) text.insert(text.end(), tokens_.begin(), tokens_.end());
    session.append_tokens(text);
    session.forget_history();
    const size_t lanes = static_cast<size_t>(model->info().layers) * model->info().kv_heads;
    for (int round = 0; round < 3; round++) {
      reset_high_water(*model);
      const size_t in_use = model->pool().bytes_in_use;
      const EvictReport report = session.evict(policy, Budget::fraction(0.5));
      EXPECT_LE(report.entries_after, report.entries_before / 2) << policy;
      EXPECT_LE(model->pool().high_water_bytes, in_use + lanes * model->pool().page_bytes) << policy;
      for (float x : session.logits()) ASSERT_TRUE(std::isfinite(x)) << policy;
      session.append_tokens(std::span(tokens_).first(20));
    }
  }
}

// Scorers that leave out other first tokens do not serve each other, though `squeeze` has both share a pass.
TEST_P(CapturesTest, StatisticsFromTwoFirstPositionsAreToldApart) {
  const auto model = Model::load(path_, {.threads = 2, .cache = CacheType::f32});
  Session session(model);
  for (int i = 0; i < 4; i++) session.append_tokens(tokens_);
  const auto logits = [&](const std::string& policy) {
    Session fork = session.fork();
    fork.evict(policy, Budget::fraction(0.4));
    return fork.logits();
  };
  const std::string of = "expected-attention+uniform", both = "squeeze(mix(" + of + ";" + of + "):share=";
  const auto early = logits("squeeze(" + of + ":skip=4)"), late = logits("squeeze(" + of + ":skip=200)");
  EXPECT_NE(early, late);
  EXPECT_EQ(logits(both + "1,a.skip=4,b.skip=200)"), early);
  EXPECT_EQ(logits(both + "1,a.skip=200,b.skip=4)"), late);
  EXPECT_EQ(logits(both + "0,a.skip=4,b.skip=200)"), late);
  EXPECT_EQ(logits(both + "0,a.skip=200,b.skip=4)"), early);
}

INSTANTIATE_TEST_SUITE_P(Architectures, CapturesTest, testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
