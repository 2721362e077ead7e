// The served transformer as a function of explicit caches, for gradients. A pass reads entries that are
// given, segment by segment, and returns those that it makes; what takes a gradient is up to the caller: a
// prefilled prefix is a constant, a steered span is not.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "cache/cache.h"
#include "train/lora_tensors.h"
#include "train/weights.h"

namespace kvedit::train {

/// The position of padding, which fills up lanes of different lengths.
inline constexpr int64_t kPadding = std::numeric_limits<int32_t>::max();

/// A stretch of one layer's cache. Heads share positions (1 row) or have their own.
struct LayerEntries {
  Tensor keys;       // [kv_heads, n, key_dim] f32, after RoPE
  Tensor values;     // [kv_heads, n, value_dim] f32
  Tensor positions;  // [1 or kv_heads, n] int64, on the CPU
  Tensor bias;       // [kv_heads, n] f32, added to the attention logits of every query; undefined: none
  Tensor owners;     // [n] int64, on the CPU: seen by that owner's tokens alone; undefined: by all
};
using Entries = std::vector<LayerEntries>;  // [layer]

/// Tokens of a pass. They see entries and each other by position: at or before their own, and inside the
/// layer's window.
struct Batch {
  Tensor tokens;     // [n] int64
  Tensor positions;  // [n] int64, on the CPU
  Tensor owners;  // [n] int64, on the CPU: tokens of different owners do not see each other; undefined: one
};

struct PassOptions {
  const LoraTensors* lora = nullptr;
  bool entries_only = false;  // it ends with the last layer's keys and values: `hidden` stays undefined
  bool checkpoint = false;    // layers are computed again for the gradient instead of being kept
};

struct PassResult {
  Entries entries;  // entries of the batch's tokens
  Tensor hidden;    // [n, d_model] f32, after the last norm
};

PassResult forward(const Weights& weights, const Batch& batch, std::span<const Entries* const> context,
                   const PassOptions& options = {});
/// Returns [n, vocabulary] f32 of hidden states [n, d_model].
Tensor logits(const Weights& weights, const Tensor& hidden);

Batch make_batch(std::span<const Token> tokens, std::span<const Position> positions,
                 torch::Device device = torch::kCPU);

/// Copies the entries of an engine's cache with begin <= position < end, as constants. Lanes that were
/// evicted to different lengths are padded at their end.
Entries entries_of(const Cache& cache, Span positions, torch::Device device = torch::kCPU);

/// Applies the rotation at each of `positions` [n] to x [heads, n, dim]; inverse: takes it back.
Tensor rotate(const Tensor& x, const Tensor& positions, const Rope& rope, bool inverse = false);

}  // namespace kvedit::train
