// Every named policy at every keep level on a tiny model of every architecture, from captures of a real pass.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <set>

#include "compute/engine.h"
#include "evict/policy.h"
#include "model/lkv_testing.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

class PolicyMatrixTest : public testing::TestWithParam<std::string> {
 protected:
  PolicyMatrixTest() {
    TinySpec spec{.architecture = GetParam(), .layers = 4};
    if (spec.architecture == "gemma3") spec.window = 120;
    network_ = Network::load(write_tiny_model(spec, temporary_path("matrix.gguf")));
    const Hparams& h = network_->hparams();
    lkv_ = write_lkv({.layers = h.layers,
                      .kv_heads = h.kv_heads,
                      .key_dim = h.key_dim,
                      .value_dim = h.value_dim,
                      .fingerprint = network_->fingerprint()},
                     temporary_path("matrix.lkv.gguf"));
    const auto pool = PagePool::create({h.key_dim, h.value_dim, ElementType::f16});
    cache_ = std::make_unique<Cache>(pool, h.layers, h.kv_heads, h.ropes);
    positions_.resize(kTokens);
    std::iota(positions_.begin(), positions_.end(), 0);
    cache_->append(positions_);
    std::mt19937 random(3);
    std::vector<Token> tokens(kTokens);
    for (Token& t : tokens) t = static_cast<Token>(random() % 300);
    captures_.window = kWindow;
    captures_.attention_mass = captures_.query_statistics = captures_.similarity = true;
    const kvedit::Run run{cache_.get(), tokens, positions_, Logits::none, &captures_};
    Engine(network_, 2, LinearKernel::f32, 64).forward({&run, 1});
  }

  Policy policy(const PolicyInfo& info) const {
    const bool file = std::any_of(info.parameters.begin(), info.parameters.end(),
                                  [](const PolicyParameter& p) { return p.free_text; });
    return make_policy(file ? info.name + ":file=" + lkv_ : info.name);
  }
  std::vector<std::vector<int>> select(const Policy& policy, double keep) const {
    return kvedit::select(policy, *cache_, *network_, captures_,
                          std::span<const Position>(positions_).last(captures_.tokens),
                          Budget::fraction(keep), {}, 2);
  }

  static constexpr int kTokens = 300;
  static constexpr int kWindow = 32;
  std::shared_ptr<const Network> network_;
  std::string lkv_;
  std::unique_ptr<Cache> cache_;
  std::vector<Position> positions_;
  Captures captures_;
};

TEST_P(PolicyMatrixTest, MeetsTheBudgetAndKeepsSinksAndRecent) {
  const Hparams& h = network_->hparams();
  const auto first_reachable = [&](int layer) {
    return h.window_of(layer) > 0 ? kTokens + 1 - h.window_of(layer) : 0;
  };
  size_t reachable = 0;
  for (int layer = 0; layer < h.layers; layer++) {
    reachable += static_cast<size_t>(kTokens - first_reachable(layer)) * h.kv_heads;
  }
  for (const PolicyInfo& info : policies()) {
    const Policy policy = this->policy(info);
    for (const double keep : {0.9, 0.5, 0.35, 0.25}) {
      const auto kept = select(policy, keep);
      size_t sum = 0;
      for (size_t lane = 0; lane < kept.size(); lane++) {
        const int layer = static_cast<int>(lane) / h.kv_heads;
        sum += kept[lane].size();
        EXPECT_TRUE(std::adjacent_find(kept[lane].begin(), kept[lane].end(), std::greater_equal<>()) ==
                    kept[lane].end())
            << info.name << ": ascending, none twice";
        EXPECT_GE(kept[lane].front(), first_reachable(layer)) << info.name;
        const std::set<int> in(kept[lane].begin(), kept[lane].end());
        for (int j = 0; j < policy.sinks && h.window_of(layer) == 0; j++)
          EXPECT_TRUE(in.contains(j)) << info.name;
        for (int j = kTokens - policy.recent; j < kTokens; j++) EXPECT_TRUE(in.contains(j)) << info.name;
      }
      EXPECT_EQ(sum, static_cast<size_t>(keep * static_cast<double>(reachable) + 1e-6))
          << info.name << " " << keep;
    }
    const auto everything = select(policy, 1);
    for (const auto& lane : everything) EXPECT_EQ(lane.size(), static_cast<size_t>(kTokens)) << info.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, PolicyMatrixTest,
                         testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
