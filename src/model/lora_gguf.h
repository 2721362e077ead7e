// llama.cpp's adapter files: GGUF with general.type = adapter; src/llama-adapter.cpp there is the reference.
#pragma once

#include <memory>
#include <string>

#include "model/lora.h"

namespace kvedit {

/// Tensors blk.N.<projection>.weight.lora_a [in, rank] and .lora_b [rank, out]; the update is scaled by
/// adapter.lora.alpha / rank, by 1 where alpha is 0 or missing. Errors as Lora::load.
std::shared_ptr<const Lora> load_lora_gguf(const std::string& path, const Network& network);

}  // namespace kvedit
