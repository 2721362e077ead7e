// Adapters as Hugging Face's PEFT saves them: a folder with adapter_config.json and
// adapter_model.safetensors.
#pragma once

#include <memory>
#include <string>

#include "model/lora.h"

namespace kvedit {

/// Tensors base_model.model.model.layers.N.<module>.lora_A.weight, [rank][in] in their file, and
/// .lora_B.weight, [out][rank]. Where GGUF orders the rows of q and k for adjacent rotary pairs (llama), so
/// are those of B. Errors as Lora::load; a setting that is not implemented is unsupported, by its name.
std::shared_ptr<const Lora> load_lora_peft(const std::string& folder, const Network& network);

}  // namespace kvedit
