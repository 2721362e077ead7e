// A network's weights as Torch tensors, dequantised from the same file that is served.
#pragma once

#include <torch/types.h>

#include <memory>
#include <vector>

#include "model/network.h"

namespace kvedit::train {

using torch::Tensor;

/// LayerWeights as tensors, undefined where the architecture has none. Shapes as in Torch: [out, in].
struct LayerTensors {
  Tensor attention_norm, wq, wk, wv, bq, bk, bv, q_norm, k_norm, wo, post_attention_norm;
  Tensor ffn_norm, gate, up, down, post_ffn_norm;
};

/// A network's frozen weights, which take no gradient.
struct Weights {
  std::shared_ptr<const Network> network;
  std::vector<LayerTensors> layers;
  Tensor embedding;    // [vocabulary, d_model] f32
  Tensor output_norm;  // [d_model] f32
  Tensor output;       // [vocabulary, d_model] f32; the embedding where tied
  torch::ScalarType products = torch::kFloat32;

  const Hparams& hparams() const { return network->hparams(); }
  torch::Device device() const { return embedding.device(); }
};

/// Loads them. products: the type that projections are multiplied in; norms, softmax, residuals and logits
/// stay f32.
Weights load_weights(std::shared_ptr<const Network> network, torch::Device device = torch::kCPU,
                     torch::ScalarType products = torch::kFloat32);

}  // namespace kvedit::train
