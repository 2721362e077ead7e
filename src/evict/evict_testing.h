// What the tests of eviction share: a network that is only its numbers and random output projections, a
// cache of random keys and values, and captures of random queries. No model is needed.
#pragma once

#include <ggml-cpp.h>

#include <random>
#include <vector>

#include "cache/cache_testing.h"
#include "evict/policy.h"

namespace kvedit {

class NumbersOnly : public Network {
 public:
  explicit NumbersOnly(const Hparams& hparams, bool post_norm = false) {
    hparams_ = hparams;
    const int64_t width = int64_t{hparams.heads} * hparams.value_dim;
    const size_t bytes = sizeof(ggml_fp16_t) * width * hparams.d_model + sizeof(float) * hparams.d_model;
    context_.reset(ggml_init({.mem_size = hparams.layers * (bytes + 4 * ggml_tensor_overhead()),
                              .mem_buffer = nullptr,
                              .no_alloc = false}));
    std::mt19937 random(hparams.heads);
    std::normal_distribution<float> normal;
    for (int layer = 0; layer < hparams.layers; layer++) {
      LayerWeights& weights = layers_.emplace_back();
      weights.wo = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F16, width, hparams.d_model);
      for (int64_t i = 0; i < width * hparams.d_model; i++) {
        static_cast<ggml_fp16_t*>(weights.wo->data)[i] = ggml_fp32_to_fp16(normal(random));
      }
      if (!post_norm) continue;
      weights.post_attention_norm = ggml_new_tensor_1d(context_.get(), GGML_TYPE_F32, hparams.d_model);
      for (int i = 0; i < hparams.d_model; i++) {
        static_cast<float*>(weights.post_attention_norm->data)[i] = normal(random);
      }
    }
  }

 private:
  ggml_context_ptr context_;
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
  bool post_norm = false;  // after the output projection
};

struct EvictCase {
  explicit EvictCase(const EvictSetup& setup)
      : network(hparams_of(setup), setup.post_norm),
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
    captures.tokens = setup.queries;
    const Hparams& h = network.hparams();
    for (int layer = 0; layer < h.layers; layer++) {
      auto& queries = captures.queries.emplace_back(static_cast<size_t>(setup.queries) * h.heads * h.key_dim);
      for (float& x : queries) x = normal(random) * 0.7F;
    }
    window_positions = range(setup.entries - setup.queries, setup.entries);
  }

  LayerView view(int layer) const { return {layer, cache, network, captures, 0, window_positions}; }
  std::vector<std::vector<int>> select(const Policy& policy, const Budget& budget,
                                       const EvictOptions& options = {}) const {
    return choose_entries(policy, cache, network, capture(), window_positions, budget, options);
  }
  Capture capture() const {
    return [this](const CaptureRequest&) { return captures; };
  }

  static constexpr int kKeyDim = 8;
  static constexpr int kValueDim = 16;
  static constexpr int kModelDim = 24;
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
    h.d_model = kModelDim;
    h.attention_scale = 0.25F;
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
