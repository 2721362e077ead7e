// What LKV-H and LKV-T learn from.
#pragma once

#include "train/lkv_example.h"
#include "train/lkv_selection.h"

namespace kvedit::train {

/// Which halves of LKV are learned; the other is served by a heuristic (ablations).
struct LkvParts {
  bool scores = true;   // LKV-T, else the example's given ones
  bool budgets = true;  // LKV-H, else every lane alike
};

/// KL of what follows to the full cache, with the soft selection at `temperature` in place of the hard one.
Tensor distillation_loss(const Weights& weights, const LkvTensors& lkv, const LkvParts& parts,
                         const LkvExample& example, const Keep& keep, double temperature);

/// To start from: the example's given scores as they would be selected from, all lanes together. LKV-T
/// regresses their logarithms, each lane's normalised; LKV-H the lanes' shares of the highest of the model
/// (cross entropy).
Tensor imitation_loss(const Hparams& hparams, const LkvTensors& lkv, const LkvParts& parts,
                      const LkvExample& example, const Keep& keep);

}  // namespace kvedit::train
