// Dot products of quantised weight rows with a few tokens' activations, for decoding: there the
// weights are read once a token and nothing is gained by dequantising them first. Activations are
// rounded to 8 bits in blocks of 32 (nearest, scale max/127, as ggml's Q8_0), so that products
// are made in integers; a block's scales are applied in vectors. Plain pointers and sizes: no ggml here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "compute/kernels/scratch.h"

namespace kvedit {

/// Weight formats with a kernel: blocks of 32 weights behind an f16 scale.
enum class DotType { q4_0, q4_1, q5_0, q8_0 };

/// Activations as the kernels read them, for all formats.
class DotInput {
 public:
  /// Lays out room for `tokens` rows of n.
  DotInput(Room& room, int64_t tokens, int64_t n);
  /// Takes x, [tokens] rows of n, `stride` floats apart; n as dot_takes() wants it.
  void quantise(const float* x, size_t stride);

  /// Four blocks of 32. A row of 4k+1..3 blocks ends in a group that repeats earlier ones with scale 0.
  struct alignas(64) Group {
    int8_t values[2][4][16];  // [half of a block][block][element]
    float scales[4][4];       // [block][the same four times], times 2^112
    float sums[4][4];         // [block][scale * the sum of its values, 0, 0, 0], times 2^112
  };

  size_t tokens;
  size_t blocks;  // of a token
  size_t groups;  // of a token
  Group* values;  // [token][group]
};

/// Tells whether the kernels take rows of n weights: whole blocks, and a group of them at least.
bool dot_takes(int64_t n);

/// Computes y[t * y_stride + r] = weights[r] . x[t] for `rows` rows, `row_bytes` apart.
void dot_rows(DotType type, const void* weights, size_t row_bytes, int64_t rows, const DotInput& x, float* y,
              size_t y_stride);

/// Names the instruction set that the kernels run with on this machine, e.g. "AVX3_DL".
const char* dot_target();

}  // namespace kvedit
