#include "train/weights.h"

#include <ggml.h>

#include <utility>

namespace kvedit::train {
namespace {

constexpr std::pair<ggml_tensor * LayerWeights::*, Tensor LayerTensors::*> kMembers[] = {
    {&LayerWeights::attention_norm, &LayerTensors::attention_norm},
    {&LayerWeights::wq, &LayerTensors::wq},
    {&LayerWeights::wk, &LayerTensors::wk},
    {&LayerWeights::wv, &LayerTensors::wv},
    {&LayerWeights::bq, &LayerTensors::bq},
    {&LayerWeights::bk, &LayerTensors::bk},
    {&LayerWeights::bv, &LayerTensors::bv},
    {&LayerWeights::q_norm, &LayerTensors::q_norm},
    {&LayerWeights::k_norm, &LayerTensors::k_norm},
    {&LayerWeights::wo, &LayerTensors::wo},
    {&LayerWeights::post_attention_norm, &LayerTensors::post_attention_norm},
    {&LayerWeights::ffn_norm, &LayerTensors::ffn_norm},
    {&LayerWeights::gate, &LayerTensors::gate},
    {&LayerWeights::up, &LayerTensors::up},
    {&LayerWeights::down, &LayerTensors::down},
    {&LayerWeights::post_ffn_norm, &LayerTensors::post_ffn_norm},
};

Tensor dequantised(const ggml_tensor* weight) {
  std::vector<int64_t> shape = {weight->ne[0]};
  if (ggml_n_dims(weight) > 1) shape.insert(shape.begin(), weight->ne[1]);
  Tensor floats = torch::empty(shape, torch::kFloat32);
  if (weight->type == GGML_TYPE_F32) {
    std::copy_n(static_cast<const float*>(weight->data), floats.numel(), floats.data_ptr<float>());
  } else {
    ggml_get_type_traits(weight->type)->to_float(weight->data, floats.data_ptr<float>(), floats.numel());
  }
  return floats;
}

}  // namespace

Weights load_weights(std::shared_ptr<const Network> network, torch::Device device,
                     torch::ScalarType products) {
  Weights weights;
  for (const LayerWeights& layer : network->layers()) {
    LayerTensors& tensors = weights.layers.emplace_back();
    for (const auto& [from, to] : kMembers) {
      if (layer.*from == nullptr) continue;
      const Tensor floats = dequantised(layer.*from);
      tensors.*to = floats.to(device, floats.dim() == 2 ? products : torch::kFloat32);
    }
  }
  weights.embedding = dequantised(network->embedding()).to(device);
  weights.output_norm = dequantised(network->output_norm()).to(device);
  weights.output = network->output() == network->embedding() ? weights.embedding
                                                             : dequantised(network->output()).to(device);
  weights.products = products;
  weights.network = std::move(network);
  return weights;
}

}  // namespace kvedit::train
