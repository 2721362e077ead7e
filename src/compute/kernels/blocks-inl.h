// Blocks of quantised weights in registers, and their products with 8-bit activations. Compiled once a
// target, as Highway's own -inl.h headers.
#include <hwy/highway.h>

#include <cstring>

#include "compute/kernels/dot.h"

#if defined(KVEDIT_BLOCKS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef KVEDIT_BLOCKS_INL_H
#undef KVEDIT_BLOCKS_INL_H
#else
#define KVEDIT_BLOCKS_INL_H
#endif

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Group = DotInput::Group;
using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using D8 = hn::Repartition<uint8_t, D>;
using DI8 = hn::RebindToSigned<D8>;
using V = hn::Vec<D>;
using V8 = hn::Vec<D8>;

constexpr size_t kBlocks = hn::MaxLanes(D8()) / 16;  // a vector holds half of so many
constexpr size_t kAhead = 12288;  // bytes; the hardware does not guess several rows read at once
constexpr bool kUnsigned = HWY_TARGET == HWY_AVX3_DL;  // products want unsigned weights

HWY_INLINE uint32_t u32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// The f16 number in the upper or lower half of each lane -> f32, times 2^-112: the exponents' biases differ.
// Exact, subnormal numbers too; DotInput's scales make up for it.
HWY_INLINE V upper_half(hn::Vec<DI> v) {
  const DI di;
  return hn::BitCast(D(), hn::And(hn::ShiftRight<3>(v), hn::Set(di, static_cast<int32_t>(0x8FFFE000))));
}
HWY_INLINE V lower_half(hn::Vec<DI> v) { return upper_half(hn::ShiftLeft<16>(v)); }

// kBlocks neighbouring blocks of kStride bytes, of which the first kSpan bytes are read.
#if HWY_TARGET == HWY_AVX3_DL
template <size_t kStride, size_t kSpan>
class Blocks {
 public:
  explicit HWY_INLINE Blocks(const uint8_t* p)
      : first_(_mm512_loadu_si512(p)), last_(_mm512_loadu_si512(p + kSpan - 64)) {}
  // 16 bytes of each, from kAt on.
  template <size_t kAt>
  HWY_INLINE V8 bytes() const {
    return pick<kAt, 16>();
  }
  // The four bytes at kAt of each, in the block's four lanes.
  template <size_t kAt>
  HWY_INLINE hn::Vec<DI> word() const {
    return hn::BitCast(DI(), pick<kAt, 4>());
  }

 private:
  // Byte i of a block's 16 <- its byte kAt + i mod kPeriod.
  template <size_t kAt, size_t kPeriod>
  HWY_INLINE V8 pick() const {
    static constexpr auto kPlaces = [] {
      std::array<uint8_t, 64> places{};
      for (size_t i = 0; i < 64; i++) {
        const size_t from = i / 16 * kStride + kAt + i % kPeriod;
        places[i] = static_cast<uint8_t>(from < 64 ? from : from - (kSpan - 64) + 64);
      }
      return places;
    }();
    return V8{_mm512_permutex2var_epi8(first_, _mm512_loadu_si512(kPlaces.data()), last_)};
  }
  __m512i first_, last_;
};
#else
template <size_t kStride, size_t kSpan>
class Blocks {
 public:
  explicit HWY_INLINE Blocks(const uint8_t* p) : p_(p) {}
  template <size_t kAt>
  HWY_INLINE V8 bytes() const {
    return gather(D8(), p_ + kAt);
  }
  template <size_t kAt>
  HWY_INLINE hn::Vec<DI> word() const {
    return spread(DI(), p_ + kAt);
  }

 private:
  template <class DV>
  static HWY_INLINE hn::Vec<DV> gather(DV d, const uint8_t* p) {
    if constexpr (hn::MaxLanes(DV()) == 16) {
      return hn::LoadU(d, p);
    } else {
      const hn::Half<DV> half;
      return hn::Combine(d, gather(half, p + hn::MaxLanes(half) / 16 * kStride), gather(half, p));
    }
  }
  template <class DV>
  static HWY_INLINE hn::Vec<DV> spread(DV d, const uint8_t* p) {
    if constexpr (hn::MaxLanes(DV()) == 4) {
      return hn::Set(d, static_cast<int32_t>(u32(p)));
    } else {
      const hn::Half<DV> half;
      return hn::Combine(d, spread(half, p + hn::MaxLanes(half) / 4 * kStride), spread(half, p));
    }
  }
  const uint8_t* p_;
};
#endif

#if HWY_ARCH_X86 && HWY_TARGET != HWY_AVX3_DL
// What Highway 1.0.3 has no name for. Sums of two neighbouring products in 16 bits, a unsigned, b signed:
HWY_INLINE auto pairs(hn::Vec128<uint8_t> a, hn::Vec128<int8_t> b) {
  return hn::Vec128<int16_t>{_mm_maddubs_epi16(a.raw, b.raw)};
}
// a or, where b < 0, -a; anything where b = 0:
HWY_INLINE auto with_sign(hn::Vec128<int8_t> a, hn::Vec128<int8_t> b) {
  return hn::Vec128<int8_t>{_mm_sign_epi8(a.raw, b.raw)};
}
#if HWY_TARGET <= HWY_AVX2
HWY_INLINE auto pairs(hn::Vec256<uint8_t> a, hn::Vec256<int8_t> b) {
  return hn::Vec256<int16_t>{_mm256_maddubs_epi16(a.raw, b.raw)};
}
HWY_INLINE auto with_sign(hn::Vec256<int8_t> a, hn::Vec256<int8_t> b) {
  return hn::Vec256<int8_t>{_mm256_sign_epi8(a.raw, b.raw)};
}
#endif
#if HWY_TARGET <= HWY_AVX3
HWY_INLINE auto pairs(hn::Vec512<uint8_t> a, hn::Vec512<int8_t> b) {
  return hn::Vec512<int16_t>{_mm512_maddubs_epi16(a.raw, b.raw)};
}
HWY_INLINE auto with_sign(hn::Vec512<int8_t> a, hn::Vec512<int8_t> b) {
  return hn::IfThenElse(hn::Lt(b, hn::Zero(hn::Full512<int8_t>())), hn::Neg(a), a);
}
#endif
#endif

// Products of both halves of kBlocks blocks; the sum of a block's four lanes is its dot product.
// kSigned: weights are int8; else they are at most 63, so that four products fit into 16 bits.
template <bool kSigned>
HWY_INLINE hn::Vec<DI> dot(V8 low, V8 high, const Group& x, size_t block) {
  const DI di;
  const DI8 di8;
  const auto x_low = hn::LoadU(di8, x.values[0][block]);
  const auto x_high = hn::LoadU(di8, x.values[1][block]);
#if HWY_TARGET == HWY_AVX3_DL
  const __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), low.raw, x_low.raw);
  return hn::Vec<DI>{_mm512_dpbusd_epi32(sum, high.raw, x_high.raw)};
#elif HWY_ARCH_X86
  const auto ones = hn::Set(hn::Repartition<int16_t, D>(), 1);
  auto unused = hn::Zero(di);
  if constexpr (kSigned) {  // |w| * (x with the sign of w): at most 2 * 128 * 127
    const auto product = [&](V8 w, hn::Vec<DI8> v) HWY_ATTR {
      const auto s = hn::BitCast(di8, w);
      return pairs(hn::BitCast(D8(), hn::Abs(s)), with_sign(v, s));
    };
    const auto sum = hn::ReorderWidenMulAccumulate(di, product(low, x_low), ones, hn::Zero(di), unused);
    return hn::ReorderWidenMulAccumulate(di, product(high, x_high), ones, sum, unused);
  } else {
    const auto sums = hn::Add(pairs(low, x_low), pairs(high, x_high));
    return hn::ReorderWidenMulAccumulate(di, sums, ones, hn::Zero(di), unused);
  }
#else
  const hn::Repartition<int16_t, D> d16;
  auto sum = hn::Zero(di);
  auto sum1 = hn::Zero(di);
  const auto add = [&](V8 w, hn::Vec<DI8> v) HWY_ATTR {
    const auto s = hn::BitCast(di8, w);
    sum = hn::ReorderWidenMulAccumulate(di, hn::PromoteTo(d16, hn::LowerHalf(s)),
                                        hn::PromoteTo(d16, hn::LowerHalf(v)), sum, sum1);
    sum = hn::ReorderWidenMulAccumulate(di, hn::PromoteTo(d16, hn::UpperHalf(hn::Half<DI8>(), s)),
                                        hn::PromoteTo(d16, hn::UpperHalf(hn::Half<DI8>(), v)), sum, sum1);
  };
  add(low, x_low);
  add(high, x_high);
  return hn::Add(sum, sum1);
#endif
}

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // KVEDIT_BLOCKS_INL_H
