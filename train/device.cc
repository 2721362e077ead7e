#include "train/device.h"

#include <ATen/Context.h>

#include "tools/text.h"

namespace kvedit::train {

torch::Device device_of(const std::string& name) {
  const bool known = name == "cpu" || name.starts_with("cuda");
  if (!known || (name != "cpu" && !at::hasCUDA()))
    fail(ErrorCode::unsupported, "train", "no device \"", name, "\" for this build of Torch");
  try {
    return torch::Device(name);
  } catch (const c10::Error&) {
    fail(ErrorCode::unsupported, "train", "no device \"", name, "\" for this build of Torch");
  }
}

torch::ScalarType product_type(const std::string& name) {
  if (name == "f32") return torch::kFloat32;
  if (name == "bf16") return torch::kBFloat16;
  if (name == "f16") return torch::kFloat16;
  fail(ErrorCode::invalid_argument, "train", "products are f32, bf16 or f16, not \"", name, "\"");
}

}  // namespace kvedit::train
