// The losses that LKV-H and LKV-T learn from.
#pragma once

#include "train/lkv_example.h"
#include "train/lkv_selection.h"

namespace kvedit::train {

/// Which halves of LKV are learned; the other is served by a heuristic (ablations).
struct LkvParts {
  bool scores = true;   // LKV-T, else the example's given ones
  bool budgets = true;  // LKV-H, else every lane alike
};

/// Returns KL to the full cache on what follows, with the soft selection at `temperature` in place of the
/// hard one.
Tensor distillation_loss(const Weights& weights, const LkvTensors& lkv, const LkvParts& parts,
                         const LkvExample& example, const Keep& keep, double temperature);

/// Returns the loss to start from, which imitates the example's given scores. LKV-T regresses their
/// logarithms, normalised in each lane; LKV-H learns the lanes' shares of the model's highest scores (cross
/// entropy).
Tensor imitation_loss(const Hparams& hparams, const LkvTensors& lkv, const LkvParts& parts,
                      const LkvExample& example, const Keep& keep);

}  // namespace kvedit::train
