// Matrix products in register tiles, of the few rows that attention has for a page.
// Compiled once a target, as Highway's own -inl.h headers.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstddef>
#include <type_traits>

#if defined(KVEDIT_TILES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef KVEDIT_TILES_INL_H
#undef KVEDIT_TILES_INL_H
#else
#define KVEDIT_TILES_INL_H
#endif

#include "compute/kernels/pairs-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kRowTile = 6;  // rows of a register tile

// Vectors a row of a register tile: what the registers hold, and enough sums to hide their latency.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int vectors(int /*rows*/) { return 4; }
#else
constexpr int vectors(int rows) { return rows == 1 ? 8 : rows <= 3 ? 4 : 2; }
#endif

HWY_INLINE V load(D d, const float* p) { return hn::LoadU(d, p); }

// One register tile: c[r][0..W vectors) = factor[r] * c[r] + sum_k a[r][k] * b[k][..], k in [begin, end).
// A null factor starts from zero.
// `ahead` is memory that is read next in the same pattern; the hardware cannot guess where pages lie.
template <int R, int W, class T>
HWY_INLINE void tile(const float* const* a, int begin, int end, const T* b, size_t b_stride,
                     const float* factor, float* const* c, size_t column, const T* ahead) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  V sum[R][W];
  for (int r = 0; r < R; r++) {
    for (int w = 0; w < W; w++) {
      sum[r][w] =
          factor ? hn::Mul(hn::Set(d, factor[r]), hn::LoadU(d, c[r] + column + w * lanes)) : hn::Zero(d);
    }
  }
  b += column;
  ahead += column;
  for (int k = begin; k < end; k++) {
    if constexpr (sizeof(T) == 2) {
      for (size_t line = 0; line < W * lanes * sizeof(T); line += 64) {
        hwy::Prefetch(reinterpret_cast<const char*>(ahead + k * b_stride) + line);
      }
    }
    if constexpr (R < W) {  // the fewer operands stay in registers
      V x[R];
      for (int r = 0; r < R; r++) x[r] = hn::Set(d, a[r][k]);
      for (int w = 0; w < W; w++) {
        const V row = load(d, b + k * b_stride + w * lanes);
        for (int r = 0; r < R; r++) sum[r][w] = hn::MulAdd(x[r], row, sum[r][w]);
      }
    } else {
      V row[W];
      for (int w = 0; w < W; w++) row[w] = load(d, b + k * b_stride + w * lanes);
      for (int r = 0; r < R; r++) {
        const V x = hn::Set(d, a[r][k]);
        for (int w = 0; w < W; w++) sum[r][w] = hn::MulAdd(x, row[w], sum[r][w]);
      }
    }
  }
  for (int r = 0; r < R; r++) {
    for (int w = 0; w < W; w++) hn::StoreU(sum[r][w], d, c[r] + column + w * lanes);
  }
}

// c[R][columns] = factor * c + a[R][begin..end) . b[begin..end)[columns]. Where columns are no multiple of a
// vector, the last one reads and writes past them: c has room for that, and b's memory does not end there.
template <int R, class T>
HWY_INLINE void multiply(const float* const* a, int begin, int end, const T* b, int columns,
                         const float* factor, float* const* c, const T* ahead) {
  constexpr int kVectors = vectors(R);
  const size_t lanes = hn::Lanes(D());
  const size_t in_tiles = columns / (kVectors * lanes) * (kVectors * lanes);
  for (size_t column = 0; column < in_tiles; column += kVectors * lanes) {
    tile<R, kVectors>(a, begin, end, b, columns, factor, c, column, ahead);
  }
  for (size_t column = in_tiles; column < static_cast<size_t>(columns); column += lanes) {
    tile<R, 1>(a, begin, end, b, columns, factor, c, column, ahead);
  }
}

// Calls use<R>(row) for all rows, in register tiles.
template <class Use>
HWY_INLINE void for_row_tiles(int rows, Use&& use) {
  int row = 0;
  for (; row + kRowTile <= rows; row += kRowTile) use(std::integral_constant<int, kRowTile>(), row);
  switch (rows - row) {
    case 5:
      use(std::integral_constant<int, 5>(), row);
      break;
    case 4:
      use(std::integral_constant<int, 4>(), row);
      break;
    case 3:
      use(std::integral_constant<int, 3>(), row);
      break;
    case 2:
      use(std::integral_constant<int, 2>(), row);
      break;
    case 1:
      use(std::integral_constant<int, 1>(), row);
      break;
    default:
      break;
  }
}

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // KVEDIT_TILES_INL_H
