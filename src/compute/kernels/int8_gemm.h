// Products of quantised weights with many tokens' activations in integers, for prefill: activations are
// rounded to 8 bits in blocks of 32 (nearest, scale max/127, as ggml's Q8_0), weights are exact. A strip of
// weight rows is unpacked once to bytes and stays in the L1 cache while all tokens pass by. A token's result
// does not depend on the tokens beside it.
// Plain pointers and sizes: no ggml here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "compute/kernels/scratch.h"

namespace kvedit {

/// Weight formats with a kernel, under ggml's names.
enum class Int8Format { q4_0, q4_1, q5_0, q8_0, q4_k, q5_k, q6_k };

/// Counts the bytes of one token's n activations as the kernel reads them: [n] int8, then f32 scales [n/32],
/// and scale * sum of values for blocks of 32 [n/32] and of 16 [n/16]. n: a multiple of 32.
constexpr size_t int8_row_bytes(int64_t n) { return static_cast<size_t>(n + n / 2); }

/// Rounds x [n] to `to` [int8_row_bytes(n)], aligned to 4 bytes.
void int8_quantise(const float* x, int64_t n, std::byte* to);

/// Counts the bytes that int8_gemm() works in.
size_t int8_scratch_bytes(Int8Format format, int64_t n);

/// Computes y[t * y_stride + r] = weights[r] . x[t] for `rows` rows of n weights, `row_bytes` apart, and
/// `tokens` rows of int8_quantise(), `x_stride` bytes apart. n: a multiple of the format's block (32, or 256
/// for K-quants).
void int8_gemm(Int8Format format, const void* weights, size_t row_bytes, int64_t rows, int64_t n,
               const std::byte* x, size_t x_stride, int64_t tokens, float* y, size_t y_stride, Room scratch);

/// Names the instruction set that the kernels run with on this machine, e.g. "AVX2".
const char* int8_target();

}  // namespace kvedit
