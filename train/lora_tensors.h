// A LoRA adapter as Torch tensors that are trained: W x + scale B (A x).
#pragma once

#include <torch/types.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "model/lora.h"
#include "model/lora_builder.h"
#include "train/weights.h"

namespace kvedit::train {

struct LowRankTensors {
  Tensor a;  // [rank, in] f32
  Tensor b;  // [out, rank] f32
};

struct LoraTensors {
  int rank = 0;
  double alpha = 0;
  int steering_states = 0;                                              // of a span that stay, 0: all
  std::vector<std::array<LowRankTensors, kLoraTargets.size()>> layers;  // undefined: unchanged

  double scale() const { return alpha / rank; }
  /// All that are defined, in the order of layers, targets, a then b.
  std::vector<Tensor> parameters() const;
};

/// Untrained: a uniform as LoRA's authors have it, b zero, so that it changes nothing. `targets` are names of
/// kLoraTargets ("attn_q"), all if empty. What cannot reach any key or value is left out: the last layer's
/// output projection and feed-forward, and its queries. Throws Error(not_found) for a target,
/// Error(out_of_range) for the rank.
LoraTensors new_lora(const Weights& weights, int rank, double alpha, const std::vector<std::string>& targets,
                     uint64_t seed);

/// The engine's adapter, as it is (its scale is folded into b).
LoraTensors lora_tensors(const Lora& lora, torch::Device device = torch::kCPU);

/// The same adapter to be trained further, scaled by alpha as a new one is.
LoraTensors trained_further(LoraTensors lora, double alpha);

}  // namespace kvedit::train
