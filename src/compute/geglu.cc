#include "compute/geglu.h"

#include <numbers>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/geglu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// after highway.h
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;

// exp(-2u) stays finite; beyond, GELU is 0 or x to within a float.
constexpr float kLargest = 88.0F;

HWY_INLINE hn::Vec<D> gelu(D d, hn::Vec<D> x) {
  const float scale = -2 * std::numbers::sqrt2_v<float> * std::numbers::inv_sqrtpi_v<float>;
  const auto cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715F), hn::Set(d, 1.0F));
  const auto exponent = hn::Mul(hn::Mul(x, hn::Set(d, scale)), cubic);
  const auto bounded = hn::Min(hn::Set(d, kLargest), hn::Max(hn::Set(d, -kLargest), exponent));
  const auto result = hn::Div(x, hn::Add(hn::Set(d, 1.0F), hn::Exp(d, bounded)));
  return hn::IfThenZeroElse(hn::Gt(exponent, hn::Set(d, kLargest)), result);
}

void geglu_row(const float* gate, const float* up, float* to, size_t n) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(gelu(d, hn::LoadU(d, gate + i)), hn::LoadU(d, up + i)), d, to + i);
  }
  if (i == n) return;
  const auto rest = hn::FirstN(d, n - i);
  hn::BlendedStore(hn::Mul(gelu(d, hn::MaskedLoad(rest, d, gate + i)), hn::MaskedLoad(rest, d, up + i)), rest,
                   d, to + i);
}

const char* geglu_target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvedit {

HWY_EXPORT(geglu_row);
HWY_EXPORT(geglu_target_name);

void geglu(const float* gate, const float* up, float* to, size_t n) {
  HWY_DYNAMIC_DISPATCH(geglu_row)(gate, up, to, n);
}

const char* geglu_target() { return HWY_DYNAMIC_DISPATCH(geglu_target_name)(); }

}  // namespace kvedit
#endif  // HWY_ONCE
