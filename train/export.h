// Writes a trained adapter, as llama.cpp's LoRA GGUF, which Model::load_adapter reads, and as a PEFT folder.
#pragma once

#include <string>

#include "train/config.h"
#include "train/lora_tensors.h"

namespace kvedit::train {

/// Writes f16. `notes` go into the file's metadata as JSON ("kvedit.training"), beside the model's
/// fingerprint ("kvedit.model.fingerprint"). The file is complete, or there is none. Throws Error(io).
void write_adapter(const LoraTensors& lora, const Network& network, const Json& notes,
                   const std::string& path);

/// Writes adapter_config.json and adapter_model.safetensors as Hugging Face's PEFT does, f32, the rows of q
/// and k in its order. Throws Error(io).
void write_peft_folder(const LoraTensors& lora, const Network& network, const std::string& folder);

}  // namespace kvedit::train
