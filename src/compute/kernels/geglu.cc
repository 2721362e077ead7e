#include "compute/kernels/geglu.h"

#include <algorithm>
#include <numbers>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/kernels/geglu.cc"
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

HWY_INLINE void geglu_vector(D d, const float* gate, const float* up, float* to) {
  hn::StoreU(hn::Mul(gelu(d, hn::LoadU(d, gate)), hn::LoadU(d, up)), d, to);
}

void geglu_row(const float* gate, const float* up, float* to, size_t n) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) geglu_vector(d, gate + i, up + i, to + i);
  if (i == n) return;
  // Highway's masked loads read past the end where a machine has none.
  float last_gate[hn::MaxLanes(D())] = {};
  float last_up[hn::MaxLanes(D())] = {};
  std::copy(gate + i, gate + n, last_gate);
  std::copy(up + i, up + n, last_up);
  geglu_vector(d, last_gate, last_up, last_gate);
  std::copy_n(last_gate, n - i, to + i);
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
