// The device and the type that products are computed with.
#pragma once

#include <torch/types.h>

#include <string>

namespace kvedit::train {

/// Reads "cpu", "cuda" or "cuda:1". Throws Error(unsupported) where this Torch has no such device.
torch::Device device_of(const std::string& name);
/// Reads "f32", "bf16" or "f16". Throws Error(invalid_argument).
torch::ScalarType product_type(const std::string& name);

}  // namespace kvedit::train
