// Activation checkpointing: the results of a function are computed again for gradients instead of being
// kept.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

namespace kvedit::train {

using Tensors = std::vector<torch::Tensor>;

/// Returns function(inputs), differentiable in the inputs. The function is called now and again for the
/// gradient, with other tensors of equal values, and must read whatever takes a gradient from its arguments.
Tensors checkpointed(const std::function<Tensors(const Tensors&)>& function, const Tensors& inputs);

}  // namespace kvedit::train
