// Matrix products in 16-bit integers, for attention of many rows: the numbers of a row, or of a column, are
// rounded to a scale of their own, neighbours along the sum stand in pairs, and one instruction multiplies
// and adds a pair. Half the work of f32, and as exact as f16. Compiled once a target, as Highway's own -inl.h
// headers.
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#if defined(KVEDIT_PAIRS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef KVEDIT_PAIRS_INL_H
#undef KVEDIT_PAIRS_INL_H
#else
#define KVEDIT_PAIRS_INL_H
#endif

#include "compute/kernels/registers-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;

// Numbers of 16 bits. Two rows of norms up to kNorm add up in 32 bits, and so do parts of them
// (Cauchy-Schwarz): sqrt(2^31), less what rounding adds.
constexpr float kLargest = 32767.0F;
constexpr float kNorm = 46000.0F;

HWY_INLINE V load(D d, const hwy::float16_t* p) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), p));
}

// 1 / unit, 0 for 0.
HWY_INLINE V inverse(V unit) {
  const D d;
  return hn::IfThenElseZero(hn::Gt(unit, hn::Zero(d)), hn::Div(hn::Set(d, 1.0F), unit));
}

// round(a), round(b) in the lower and upper half of each lane.
HWY_INLINE VI pair(V a, V b) {
  const DI di;
  const VI low = hn::And(hn::NearestInt(a), hn::Set(di, 0xFFFF));
  return hn::Or(low, hn::ShiftLeft<16>(hn::NearestInt(b)));
}

// The unit of numbers with this largest one and this sum of squares.
HWY_INLINE V unit_of(V largest, V squares) {
  const D d;
  return hn::Max(hn::Mul(largest, hn::Set(d, 1 / kLargest)),
                 hn::Mul(hn::Sqrt(squares), hn::Set(d, 1 / kNorm)));
}

// x [n], a multiple of the lanes, in units of the number returned.
HWY_INLINE float round_row(const float* x, int n, int16_t* to) {
  const D d;
  const hn::Rebind<int16_t, D> d16;
  const int lanes = static_cast<int>(hn::Lanes(d));
  V largest = hn::Zero(d), squares = hn::Zero(d);
  for (int i = 0; i < n; i += lanes) {
    const V v = hn::LoadU(d, x + i);
    largest = hn::Max(largest, hn::Abs(v));
    squares = hn::MulAdd(v, v, squares);
  }
  const V unit = unit_of(hn::MaxOfLanes(d, largest), hn::SumOfLanes(d, squares));
  const V per = inverse(unit);
  for (int i = 0; i < n; i += lanes) {
    hn::StoreU(hn::DemoteTo(d16, hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), per))), d16, to + i);
  }
  return hn::GetLane(unit);
}

// from [rows][columns], rows even, a unit for each column -> [rows / 2][columns] pairs.
HWY_INLINE void pair_columns(const hwy::float16_t* from, int rows, int columns, int32_t* to, float* units) {
  const D d;
  const DI di;
  for (int c = 0; c < columns; c += static_cast<int>(hn::Lanes(d))) {
    const hwy::float16_t* x = from + c;
    V largest = hn::Zero(d), squares = hn::Zero(d);
    for (int r = 0; r < rows; r++) {
      const V v = load(d, x + r * columns);
      largest = hn::Max(largest, hn::Abs(v));
      squares = hn::MulAdd(v, v, squares);
    }
    const V unit = unit_of(largest, squares);
    hn::StoreU(unit, d, units + c);
    const V per = inverse(unit);
    for (int r = 0; r < rows; r += 2) {
      const V a = hn::Mul(load(d, x + r * columns), per);
      const V b = hn::Mul(load(d, x + (r + 1) * columns), per);
      hn::StoreU(pair(a, b), di, to + r / 2 * columns + c);
    }
  }
}

// from [rows][columns], a unit for each row, `largest` of which no number passes -> [(rows + 1) / 2][columns]
// pairs.
HWY_INLINE void pair_rows(const hwy::float16_t* from, int rows, int columns, float largest, int32_t* to,
                          float* units) {
  const D d;
  const DI di;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int r = 0; r < rows; r++) {
    V top = hn::Zero(d);
    for (int c = 0; c < columns; c += lanes) top = hn::Max(top, hn::Abs(load(d, from + r * columns + c)));
    units[r] = hn::GetLane(hn::MaxOfLanes(d, top)) / largest;
  }
  for (int r = 0; r < rows; r += 2) {
    const hwy::float16_t* x = from + r * columns;
    const bool last = r + 1 == rows;
    const V units_a = inverse(hn::Set(d, units[r]));
    const V units_b = last ? hn::Zero(d) : inverse(hn::Set(d, units[r + 1]));
    for (int c = 0; c < columns; c += lanes) {
      const V a = hn::Mul(load(d, x + c), units_a);
      const V b = last ? hn::Zero(d) : hn::Mul(load(d, x + columns + c), units_b);
      hn::StoreU(pair(a, b), di, to + r / 2 * columns + c);
    }
  }
}

// sum + the products of the lower halves + those of the upper halves.
HWY_INLINE VI add_products(VI a, VI b, VI sum) {
#if HWY_TARGET == HWY_AVX3_DL
  return VI{_mm512_dpwssd_epi32(sum.raw, a.raw, b.raw)};
#elif KVEDIT_X86_VECTORS
  const DI di;
  const hn::Repartition<int16_t, DI> d16;
  VI unused = hn::Zero(di);
  return hn::ReorderWidenMulAccumulate(di, hn::BitCast(d16, a), hn::BitCast(d16, b), sum, unused);
#else  // elsewhere that adds other pairs
  const auto low = [](VI v) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  const auto high = [](VI v) { return hn::ShiftRight<16>(v); };
  return hn::Add(sum, hn::Add(hn::Mul(low(a), low(b)), hn::Mul(high(a), high(b))));
#endif
}

// One register tile, as multiply_pairs.
template <int R, int W>
HWY_INLINE void pair_tile(const int16_t* const* a, const float* a_scales, int begin, int end,
                          const int32_t* b, const float* b_scales, int columns, const float* factor,
                          float* const* c, int column) {
  const D d;
  const DI di;
  const int lanes = static_cast<int>(hn::Lanes(d));
  VI sum[R][W];
  for (int r = 0; r < R; r++) {
    for (int w = 0; w < W; w++) sum[r][w] = hn::Zero(di);
  }
  for (int k = begin; k < end; k++) {
    VI row[W];
    for (int w = 0; w < W; w++) row[w] = hn::LoadU(di, b + k * columns + column + w * lanes);
    for (int r = 0; r < R; r++) {
      int32_t both;
      std::memcpy(&both, a[r] + 2 * k, sizeof both);
      const VI x = hn::Set(di, both);
      for (int w = 0; w < W; w++) sum[r][w] = in_order(add_products(x, row[w], sum[r][w]));
    }
  }
  for (int r = 0; r < R; r++) {
    for (int w = 0; w < W; w++) {
      const int at = column + w * lanes;
      V y = hn::Mul(hn::ConvertTo(d, sum[r][w]), hn::Set(d, a_scales[r]));
      if (b_scales) y = hn::Mul(y, hn::LoadU(d, b_scales + at));
      if (factor) y = hn::MulAdd(hn::Set(d, factor[r]), hn::LoadU(d, c[r] + at), y);
      hn::StoreU(y, d, c[r] + at);
    }
  }
}

// c[R][columns] = factor * c + a[R][pairs begin..end) . b[pairs][columns], each side times its scales: a's a
// row, b's a column (null: 1). A null factor is 0. W: vectors of a register tile; columns: a multiple of 16.
template <int R, int W>
HWY_INLINE void multiply_pairs(const int16_t* const* a, const float* a_scales, int begin, int end,
                               const int32_t* b, const float* b_scales, int columns, const float* factor,
                               float* const* c) {
  const int lanes = static_cast<int>(hn::Lanes(D()));
  int column = 0;
  for (; column + W * lanes <= columns; column += W * lanes) {
    pair_tile<R, W>(a, a_scales, begin, end, b, b_scales, columns, factor, c, column);
  }
  if constexpr (16 % (W * hn::MaxLanes(D())) != 0) {
    for (; column < columns; column += lanes) {
      pair_tile<R, 1>(a, a_scales, begin, end, b, b_scales, columns, factor, c, column);
    }
  }
}

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // KVEDIT_PAIRS_INL_H
