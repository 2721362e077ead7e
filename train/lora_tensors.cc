#include "train/lora_tensors.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tools/text.h"

namespace kvedit::train {
namespace {

constexpr int kMaxRank = 4096;

Tensor copy_of(const ggml_tensor* matrix, torch::Device device) {
  Tensor copy = torch::empty({matrix->ne[1], matrix->ne[0]}, torch::kFloat32);
  std::memcpy(copy.data_ptr<float>(), matrix->data, copy.numel() * sizeof(float));
  return copy.to(device);
}

void check_targets(const std::vector<std::string>& targets) {
  for (const std::string& name : targets) {
    const bool found = std::any_of(kLoraTargets.begin(), kLoraTargets.end(),
                                   [&](const LoraTarget& target) { return target.gguf == name; });
    if (!found)
      fail(ErrorCode::not_found, "train", "no projection \"", name, "\"; there are ",
           join(kLoraTargets, &LoraTarget::gguf));
  }
}

bool reaches_a_cache(const LoraTarget& target, bool last_layer) {
  return !last_layer || target.weight == &LayerWeights::wk || target.weight == &LayerWeights::wv;
}

}  // namespace

std::vector<Tensor> LoraTensors::parameters() const {
  std::vector<Tensor> all;
  for (const auto& layer : layers) {
    for (const LowRankTensors& update : layer) {
      if (update.a.defined()) all.insert(all.end(), {update.a, update.b});
    }
  }
  return all;
}

LoraTensors new_lora(const Weights& weights, int rank, double alpha, const std::vector<std::string>& targets,
                     uint64_t seed) {
  if (rank < 1 || rank > kMaxRank) {
    fail(ErrorCode::out_of_range, "train", "an adapter of rank ", rank, "; 1 to ", kMaxRank, " are possible");
  }
  check_targets(targets);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const std::vector<LayerWeights>& layers = weights.network->layers();
  LoraTensors lora{.rank = rank, .alpha = alpha};
  lora.layers.resize(layers.size());
  for (size_t layer = 0; layer < layers.size(); layer++) {
    for (size_t i = 0; i < kLoraTargets.size(); i++) {
      const LoraTarget& target = kLoraTargets[i];
      const bool wanted =
          targets.empty() || std::find(targets.begin(), targets.end(), target.gguf) != targets.end();
      if (!wanted || !reaches_a_cache(target, layer + 1 == layers.size())) continue;
      const ggml_tensor* weight = layers[layer].*target.weight;
      const double bound = 1 / std::sqrt(static_cast<double>(weight->ne[0]));
      LowRankTensors& update = lora.layers[layer][i];
      update.a = torch::empty({rank, weight->ne[0]}, torch::kFloat32).uniform_(-bound, bound, generator);
      update.b = torch::zeros({weight->ne[1], rank}, torch::kFloat32);
      for (Tensor* part : {&update.a, &update.b}) {
        *part = part->to(weights.device());
        part->set_requires_grad(true);
      }
    }
  }
  return lora;
}

LoraTensors lora_tensors(const Lora& lora, torch::Device device) {
  const int rank = lora.info().rank;
  LoraTensors tensors{
      .rank = rank, .alpha = static_cast<double>(rank), .steering_states = lora.info().steering_states};
  tensors.layers.resize(lora.layers().size());
  for (size_t layer = 0; layer < lora.layers().size(); layer++) {
    for (size_t i = 0; i < kLoraTargets.size(); i++) {
      const LowRank& update = lora.layers()[layer].*kLoraTargets[i].update;
      if (update) tensors.layers[layer][i] = {copy_of(update.a, device), copy_of(update.b, device)};
    }
  }
  return tensors;
}

LoraTensors trained_further(LoraTensors lora, double alpha) {
  const double change = lora.alpha / alpha;
  lora.alpha = alpha;
  for (auto& layer : lora.layers) {
    for (LowRankTensors& update : layer) {
      if (!update.a.defined()) continue;
      update.b = update.b * change;
      for (Tensor* part : {&update.a, &update.b}) part->set_requires_grad(true);
    }
  }
  return lora;
}

}  // namespace kvedit::train
