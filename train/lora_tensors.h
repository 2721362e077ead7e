// A LoRA adapter as Torch tensors that are trained: W x + scale B (A x).
#pragma once

#include <torch/types.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "model/adapter/lora.h"
#include "model/adapter/lora_builder.h"
#include "train/weights.h"

namespace kvedit::train {

struct LowRankTensors {
  Tensor a;  // [rank, in] f32
  Tensor b;  // [out, rank] f32
};

struct LoraTensors {
  int rank = 0;
  double alpha = 0;
  int steering_states = 0;  // number of a span's states that stay, 0: all
  std::vector<std::array<LowRankTensors, kLoraTargets.size()>> layers;  // undefined: unchanged

  double scale() const { return alpha / rank; }
  /// Lists all that are defined, in the order of layers, targets, a then b.
  std::vector<Tensor> parameters() const;
};

/// Makes an untrained adapter, a uniform as LoRA's authors have it, b zero, so that it changes nothing.
/// `targets` are names of kLoraTargets ("attn_q"), all if empty. Weights that cannot reach any key or value
/// are left out: the last layer's output projection, feed-forward and queries. Throws Error(not_found) for a
/// target, Error(out_of_range) for the rank.
LoraTensors new_lora(const Weights& weights, int rank, double alpha, const std::vector<std::string>& targets,
                     uint64_t seed);

/// Copies the engine's adapter, its scale folded into b.
LoraTensors lora_tensors(const Lora& lora, torch::Device device = torch::kCPU);

/// Rescales the adapter by alpha, as a new one has it, to train it further.
LoraTensors trained_further(LoraTensors lora, double alpha);

}  // namespace kvedit::train
