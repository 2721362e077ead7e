// The gated feed-forward's GeGLU in f32: ggml's own looks GELU up in a table of f16.
#pragma once

#include <cstddef>

namespace kvedit {

/// Computes to[i] = gelu(gate[i]) * up[i], GELU in its tanh form: x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)).
void geglu(const float* gate, const float* up, float* to, size_t n);

/// Names the instruction set that it was dispatched to.
const char* geglu_target();

}  // namespace kvedit
