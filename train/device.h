// Where and in which type products are computed.
#pragma once

#include <torch/types.h>

#include <string>

namespace kvedit::train {

/// "cpu", "cuda", "cuda:1". Throws Error(unsupported) where this Torch has no such device.
torch::Device device_of(const std::string& name);
/// "f32", "bf16", "f16". Throws Error(invalid_argument).
torch::ScalarType product_type(const std::string& name);

}  // namespace kvedit::train
