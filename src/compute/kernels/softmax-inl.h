// Softmax over pages as they come: weights of the entries that a query sees, and the running maximum and sum.
// Compiled once a target, as Highway's own -inl.h headers.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cache/page_pool.h"

#if defined(KVEDIT_SOFTMAX_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef KVEDIT_SOFTMAX_INL_H
#undef KVEDIT_SOFTMAX_INL_H
#else
#define KVEDIT_SOFTMAX_INL_H
#endif

#include "compute/kernels/pairs-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kLeast = -1e30F;  // stands for it where a difference is taken

struct Columns {
  int begin;
  int end;
};

// The entries of a page that a query at `position` sees: a range, since positions ascend.
HWY_INLINE Columns visible(const Page& page, Position position, int window) {
  const Position* first = page.positions.data();
  const Position* last = first + page.count;
  Columns columns{0, page.count};
  if (last[-1] > position) columns.end = static_cast<int>(std::upper_bound(first, last, position) - first);
  if (window > 0 && *first <= position - window) {
    columns.begin = static_cast<int>(std::upper_bound(first, last, position - window) - first);
  }
  return columns;
}

// exp(x) for x <= 0, off by less than 3e-7 + 6e-8 |x| of it; exactly 0 from -87.7 on. 2^t = 2^n 2^r with
// n = round(t), |r| <= 1/2, the second factor from its minimax polynomial. Adding 1.5 2^23 rounds to an
// integer; 127 on top turns its last bits into the exponent's. Half the instructions of Highway's Exp, which
// takes any x.
HWY_INLINE V exp_of_negative(V x) {
  const D d;
  const V shift = hn::Set(d, 0x1.8p23F + 127.0F);
  const V t = hn::Max(hn::Mul(x, hn::Set(d, 1.44269504F)), hn::Set(d, -127.0F));
  const V shifted = hn::Add(t, shift);
  const V r = hn::Sub(t, hn::Sub(shifted, shift));
  V power = hn::Set(d, 0.00132647273F);
  for (const float c : {0.00967151299F, 0.0555073358F, 0.240222424F, 0.693147004F, 1.0F}) {
    power = hn::MulAdd(power, r, hn::Set(d, c));
  }
  const hn::RebindToSigned<D> di;
  return hn::Mul(power, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

// Scores outside the columns become minus infinity. Returns the largest of the others.
HWY_INLINE float hide(float* scores, Columns columns) {
  const D d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const V begin = hn::Set(d, static_cast<float>(columns.begin));
  const V end = hn::Set(d, static_cast<float>(columns.end));
  const bool whole = columns.begin == 0 && columns.end == kPageEntries;
  V top = hn::Set(d, kMinusInfinity);
  for (int c = 0; c < kPageEntries; c += lanes) {
    V s = hn::LoadU(d, scores + c);
    if (!whole) {
      const V at = hn::Iota(d, static_cast<float>(c));
      s = hn::IfThenElse(hn::And(hn::Ge(at, begin), hn::Lt(at, end)), s, hn::Set(d, kMinusInfinity));
      hn::StoreU(s, d, scores + c);
    }
    top = hn::Max(top, s);
  }
  return hn::GetLane(hn::MaxOfLanes(d, top));
}

// scores[64] -> weights exp(score - maximum) inside the columns, 0 elsewhere; updates the row's
// maximum and sum and returns the factor for what was summed before.
HWY_INLINE float soften(float* scores, Columns columns, float& maximum, float& sum) {
  const D d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const float new_maximum = std::max(maximum, hide(scores, columns));
  if (new_maximum == kMinusInfinity) {  // nothing seen yet
    for (int c = 0; c < kPageEntries; c += lanes) hn::StoreU(hn::Zero(d), d, scores + c);
    return 1.0F;
  }
  const V base = hn::Set(d, new_maximum);
  V total = hn::Zero(d);
  for (int c = 0; c < kPageEntries; c += lanes) {
    const V weight = exp_of_negative(hn::Sub(hn::LoadU(d, scores + c), base));
    hn::StoreU(weight, d, scores + c);
    total = hn::Add(total, weight);
  }
  const float factor = maximum == new_maximum ? 1.0F : std::exp(maximum - new_maximum);
  maximum = new_maximum;
  sum = sum * factor + hn::GetLane(hn::SumOfLanes(d, total));
  return factor;
}

// The values of an entry are at most kValueLargest of its units, and the weights of a page add up to less
// than kWeightSum, so that their products add up in 32 bits. Of 64 equal weights each still has 12 bits.
constexpr float kValueLargest = 8190.0F;
constexpr float kWeightLargest = 32767.0F;
constexpr float kWeightSum = 0.99F * 262144.0F;

// soften() of R rows, the weights times the units of the values and rounded, in units of units[r]. What is
// one number a row is worked out for all rows at once.
template <int R>
HWY_INLINE void soften_pairs(float (*scores)[kPageEntries], const Columns* columns, const float* value_units,
                             const float* largest_so_far, float* maxima, float* sums,
                             int16_t (*weights)[kPageEntries], float* factors, float* units) {
  const D d;
  const hn::Rebind<int16_t, D> d16;
  const int lanes = static_cast<int>(hn::Lanes(d));
  struct Rows {
    HWY_ALIGN float maximum[16], sum[16], top[16], total[16], value_unit[16], factor[16], unit[16], per[16];
  } rows = {};
  for (int r = 0; r < R; r++) {
    rows.maximum[r] = maxima[r];
    rows.sum[r] = sums[r];
    rows.top[r] = hide(scores[r], columns[r]);
    rows.value_unit[r] = columns[r].end > 0 ? largest_so_far[columns[r].end - 1] : 0.0F;
  }
  for (int r = 0; r < R; r++) {
    // About the page's own largest score: the weights use all bits, however small beside other pages'.
    const V base = hn::Set(d, std::max(rows.top[r], kLeast));
    V total = hn::Zero(d);
    for (int c = 0; c < kPageEntries; c += lanes) {
      const V weight = exp_of_negative(hn::Sub(hn::LoadU(d, scores[r] + c), base));
      hn::StoreU(weight, d, scores[r] + c);
      total = hn::Add(total, weight);
    }
    rows.total[r] = hn::GetLane(hn::SumOfLanes(d, total));
  }
  for (int r = 0; r < R; r += lanes) {
    const V top = hn::Load(d, rows.top + r), before = hn::Load(d, rows.maximum + r);
    const V total = hn::Load(d, rows.total + r);
    const V maximum = hn::Max(top, before);
    const V base = hn::Max(maximum, hn::Set(d, kLeast));
    const V factor = exp_of_negative(hn::Sub(before, base));
    const V share = exp_of_negative(hn::Sub(top, base));
    const V unit =
        hn::Mul(hn::Load(d, rows.value_unit + r),
                hn::Max(hn::Set(d, 1 / kWeightLargest), hn::Mul(total, hn::Set(d, 1 / kWeightSum))));
    hn::Store(maximum, d, rows.maximum + r);
    hn::Store(hn::MulAdd(factor, hn::Load(d, rows.sum + r), hn::Mul(share, total)), d, rows.sum + r);
    hn::Store(factor, d, rows.factor + r);
    hn::Store(hn::Mul(share, unit), d, rows.unit + r);
    hn::Store(inverse(unit), d, rows.per + r);
  }
  for (int r = 0; r < R; r++) {
    maxima[r] = rows.maximum[r];
    sums[r] = rows.sum[r];
    factors[r] = rows.factor[r];
    units[r] = rows.unit[r];
    const V per = hn::Set(d, rows.per[r]);
    for (int c = 0; c < kPageEntries; c += lanes) {
      const V scaled = hn::Mul(hn::LoadU(d, scores[r] + c), hn::Mul(per, hn::LoadU(d, value_units + c)));
      hn::StoreU(hn::DemoteTo(d16, hn::NearestInt(scaled)), d16, weights[r] + c);
    }
  }
}

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // KVEDIT_SOFTMAX_INL_H
