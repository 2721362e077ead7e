// Learned eviction (LKV, arXiv 2605.06676) as Torch tensors that are trained; model/lkv.h explains them.
#pragma once

#include <torch/types.h>

#include <vector>

#include "model/lkv_writer.h"
#include "train/transformer.h"

namespace kvedit::train {

struct LkvTensors {
  Tensor budgets;        // [layers * kv_heads] LKV-H: logits, divided by budget_gain
  Tensor hidden_weight;  // [layers, kv_heads, hidden, in] LKV-T, of normalised features
  Tensor hidden_bias;    // [layers, kv_heads, hidden]
  Tensor score_weight;   // [layers, kv_heads, hidden]
  // Features are normalised while training, since single dimensions of keys are a hundred times as large as
  // others; a constant, folded into the map that is written.
  Tensor mean, deviation;  // [layers, kv_heads, in]

  // One step of the optimiser moves logits this much farther than weights.
  double budget_gain = 1;

  Tensor budget_logits() const { return budgets * budget_gain; }
  std::vector<Tensor> parameters() const { return {budgets, hidden_weight, hidden_bias, score_weight}; }
};

/// Returns [kv_heads, n, in], the unrotated key and the value of each entry.
Tensor lkv_features(const LayerEntries& entries, const Rope& rope);

/// Makes untrained ones with equal budgets. features: [layer] of a sample, whose mean and deviation
/// normalise.
LkvTensors new_lkv(const std::vector<Tensor>& features, int hidden, uint64_t seed);

/// Scores a layer's features by LKV-T, [kv_heads, n].
Tensor lkv_scores(const LkvTensors& lkv, int layer, const Tensor& features);

LkvContents lkv_contents(const LkvTensors& lkv);

}  // namespace kvedit::train
