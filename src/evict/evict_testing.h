// What the tests of eviction share: a network that is only its numbers, a cache of random keys and
// values, and captures of random queries. No model is needed.
#pragma once

#include <random>
#include <vector>

#include "cache/cache_testing.h"
#include "evict/policy.h"

namespace kvedit {

class NumbersOnly : public Network {
 public:
  explicit NumbersOnly(const Hparams& hparams) { hparams_ = hparams; }
};

struct EvictSetup {
  int layers = 2;
  int kv_heads = 2;
  int group = 3;
  int entries = 150;
  int queries = 8;  // captured
  int window = 0;   // of the odd layers, which slide then
  CacheType type = CacheType::f32;
  uint32_t seed = 1;
};

struct EvictCase {
  explicit EvictCase(const EvictSetup& setup)
      : network(hparams_of(setup)),
        cache(PagePool::create({kKeyDim, kValueDim, setup.type}), setup.layers, setup.kv_heads,
              network.hparams().ropes) {
    std::mt19937 random(setup.seed);
    std::normal_distribution<float> normal;
    const auto positions = range(0, setup.entries);
    cache.append(positions);
    for (int layer = 0; layer < setup.layers; layer++) {
      for (int head = 0; head < setup.kv_heads; head++) {
        std::vector<float> keys(positions.size() * kKeyDim), values(positions.size() * kValueDim);
        for (float& x : keys) x = normal(random);
        for (float& x : values) x = normal(random);
        cache.write(layer, head, positions, keys, values);
      }
    }
    captures.window = captures.tokens = setup.queries;
    const Hparams& h = network.hparams();
    captures.queries.resize(static_cast<size_t>(h.layers) * setup.queries * h.heads * h.key_dim);
    for (float& x : captures.queries) x = normal(random) * 0.7F;
    window_positions = range(setup.entries - setup.queries, setup.entries);
  }

  LayerView view(int layer) const { return {layer, cache, network, captures, 0, window_positions}; }
  std::vector<std::vector<int>> select(const Policy& policy, const Budget& budget,
                                       const EvictOptions& options = {}) const {
    return kvedit::select(policy, cache, network, captures, window_positions, budget, options);
  }

  static constexpr int kKeyDim = 8;
  static constexpr int kValueDim = 16;
  NumbersOnly network;
  Cache cache;
  Captures captures;
  std::vector<Position> window_positions;

 private:
  static Hparams hparams_of(const EvictSetup& setup) {
    Hparams h;
    h.layers = setup.layers;
    h.kv_heads = setup.kv_heads;
    h.heads = setup.kv_heads * setup.group;
    h.key_dim = kKeyDim;
    h.value_dim = kValueDim;
    h.window = setup.window;
    for (int layer = 0; layer < setup.layers; layer++)
      h.sliding.push_back(setup.window > 0 && layer % 2 == 1);
    h.ropes = test_ropes(setup.layers, kKeyDim / 2);
    return h;
  }
};

inline std::vector<std::vector<int>> everything(const Cache& cache) {
  std::vector<std::vector<int>> kept;
  for (int layer = 0; layer < cache.layers(); layer++) {
    for (int head = 0; head < cache.kv_heads(); head++)
      kept.push_back(range(0, cache.lane(layer, head).size()));
  }
  return kept;
}

inline size_t count(const std::vector<std::vector<int>>& kept) {
  size_t sum = 0;
  for (const auto& lane : kept) sum += lane.size();
  return sum;
}

}  // namespace kvedit
