// Activation checkpointing: what a function makes of its inputs is computed again when gradients are wanted,
// instead of being kept.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

namespace kvedit::train {

using Tensors = std::vector<torch::Tensor>;

/// function(inputs), differentiable in the inputs. It is called once now and once for the gradient, with
/// other tensors of the same values, and must read whatever takes a gradient from its arguments.
Tensors checkpointed(const std::function<Tensors(const Tensors&)>& function, const Tensors& inputs);

}  // namespace kvedit::train
