// Rotary frequencies from GGUF metadata, as ggml_rope_ext would apply them: linear scaling, YaRN
// (arXiv 2309.00071) and Llama 3's per-pair factors, folded into one frequency a pair.
#pragma once

#include <span>

#include "base/rope.h"

namespace kvedit {

struct RopeScaling {
  int dims = 0;
  bool neox = false;
  double base = 10000;
  double factor = 1;  // positions are divided by it
  bool yarn = false;
  int original_context = 0;     // tokens; YaRN only
  double attention_factor = 1;  // rope.scaling.attn_factor
};

/// factors [dims / 2] divide the frequencies; empty: none. `model_factor` is the factor of the whole
/// model: in a sliding layer of Gemma 3 it differs from scaling.factor, which is 1 there.
Rope make_rope(const RopeScaling& scaling, double model_factor, std::span<const float> factors);

}  // namespace kvedit
