#include "train/lkv_tensors.h"

#include <torch/utils.h>

#include <cmath>

namespace kvedit::train {

Tensor lkv_features(const LayerEntries& entries, const Rope& rope) {
  const Tensor positions = entries.positions.select(0, 0);
  return torch::cat({rotate(entries.keys, positions, rope, true), entries.values}, -1);
}

LkvTensors new_lkv(const std::vector<Tensor>& features, int hidden, uint64_t seed) {
  torch::manual_seed(seed);
  const auto layers = static_cast<int64_t>(features.size());
  const int64_t heads = features[0].size(0), in = features[0].size(2);
  std::vector<Tensor> means, deviations;
  for (const Tensor& of_layer : features) {
    means.push_back(of_layer.mean(1));
    deviations.push_back(of_layer.std(1, false, false).clamp_min(1e-6));
  }
  LkvTensors lkv;
  lkv.mean = torch::stack(means);
  lkv.deviation = torch::stack(deviations);
  lkv.budgets = torch::zeros({layers * heads});
  lkv.hidden_weight = torch::randn({layers, heads, hidden, in}) / std::sqrt(in);
  lkv.hidden_bias = torch::zeros({layers, heads, hidden});
  lkv.score_weight = torch::randn({layers, heads, hidden}) / std::sqrt(hidden);
  for (Tensor& parameter : lkv.parameters()) parameter.set_requires_grad(true);
  return lkv;
}

Tensor lkv_scores(const LkvTensors& lkv, int layer, const Tensor& features) {
  const Tensor x =
      (features - lkv.mean[layer].unsqueeze(1)) / lkv.deviation[layer].unsqueeze(1);  // [heads, n, in]
  const Tensor z = torch::baddbmm(lkv.hidden_bias[layer].unsqueeze(1), x, lkv.hidden_weight[layer].mT());
  return torch::matmul(torch::silu(z), lkv.score_weight[layer].unsqueeze(-1)).squeeze(-1);
}

LkvContents lkv_contents(const LkvTensors& lkv) {
  const torch::NoGradGuard constants;
  const Tensor weight = lkv.hidden_weight / lkv.deviation.unsqueeze(2);
  const Tensor bias = lkv.hidden_bias - torch::matmul(weight, lkv.mean.unsqueeze(-1)).squeeze(-1);
  const auto numbers = [](const Tensor& tensor) {
    const Tensor flat = tensor.to(torch::kCPU, torch::kFloat32).contiguous();
    return std::vector<float>(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
  };
  return {.hidden = static_cast<int>(lkv.hidden_weight.size(2)),
          .activation = Activation::silu,
          .budget_logits = numbers(lkv.budget_logits()),
          .hidden_weight = numbers(weight),
          .hidden_bias = numbers(bias),
          .score_weight = numbers(lkv.score_weight),
          .notes = {}};
}

}  // namespace kvedit::train
