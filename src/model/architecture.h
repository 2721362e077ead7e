// What a GGUF architecture's name stands for, as data. llama.cpp's src/models/ is the reference.
#pragma once

#include <array>
#include <string_view>

#include "model/network.h"

namespace kvedit {

enum ArchitectureBit : unsigned { kLlama = 1, kQwen2 = 2, kQwen3 = 4, kGemma3 = 8, kEvery = 15 };

struct Architecture {
  std::string_view name;
  ArchitectureBit bit;
  bool neox;              // rotary pairs (i, i + dims/2), else adjacent
  bool rope_factors;      // reads the tensor rope_freqs.weight (Llama 3)
  bool scales_embedding;  // by sqrt(d_model)
  bool slides;            // reads attention.sliding_window; others must not depend on it
  Activation activation;
};

inline constexpr std::array<Architecture, 4> kArchitectures = {{
    {"llama", kLlama, false, true, false, false, Activation::silu},
    {"qwen2", kQwen2, true, false, false, false, Activation::silu},
    {"qwen3", kQwen3, true, false, false, false, Activation::silu},
    {"gemma3", kGemma3, true, false, true, true, Activation::gelu},
}};

/// Throws Error(unsupported) with the name and the list of those supported.
const Architecture& architecture(std::string_view name);

}  // namespace kvedit
