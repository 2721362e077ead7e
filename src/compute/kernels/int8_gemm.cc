#include "compute/kernels/int8_gemm.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#define HWY_WANT_AVX3_DL  // AVX-512 with VNNI
#if defined(__x86_64__)
#define HWY_BASELINE_TARGETS HWY_SSSE3  // byte products; every CPU since 2006
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/kernels/int8_gemm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// after highway.h, before what it compiles
#include "compute/kernels/vnni-inl.h"
// after both
#include "compute/kernels/int8_strip-inl.h"
#include "compute/kernels/registers-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DI = hn::RebindToSigned<D>;
using D16 = hn::Repartition<int16_t, D>;
using DU8 = hn::Repartition<uint8_t, D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
using V8 = hn::Vec<DU8>;

constexpr int kTokens = 4;  // of a register tile

#if HWY_ARCH_X86 && HWY_TARGET != HWY_AVX3_DL
// What Highway 1.0.3 has no name for: sums of two neighbouring products in 16 bits, a unsigned, b signed.
HWY_INLINE auto pairs(hn::Vec128<uint8_t> a, hn::Vec128<uint8_t> b) {
  return hn::Vec128<int16_t>{_mm_maddubs_epi16(a.raw, b.raw)};
}
HWY_INLINE auto both_halves(hn::Vec128<int16_t> v) {
  return hn::Vec128<int32_t>{_mm_madd_epi16(v.raw, _mm_set1_epi16(1))};
}
#if HWY_TARGET <= HWY_AVX2
HWY_INLINE auto pairs(hn::Vec256<uint8_t> a, hn::Vec256<uint8_t> b) {
  return hn::Vec256<int16_t>{_mm256_maddubs_epi16(a.raw, b.raw)};
}
HWY_INLINE auto both_halves(hn::Vec256<int16_t> v) {
  return hn::Vec256<int32_t>{_mm256_madd_epi16(v.raw, _mm256_set1_epi16(1))};
}
#endif
#if HWY_TARGET <= HWY_AVX3
HWY_INLINE auto pairs(hn::Vec512<uint8_t> a, hn::Vec512<uint8_t> b) {
  return hn::Vec512<int16_t>{_mm512_maddubs_epi16(a.raw, b.raw)};
}
HWY_INLINE auto both_halves(hn::Vec512<int16_t> v) {
  return hn::Vec512<int32_t>{_mm512_madd_epi16(v.raw, _mm512_set1_epi16(1))};
}
#endif
#elif !HWY_ARCH_X86
HWY_INLINE hn::Vec<D16> pairs(V8 a, V8 b) {
  const D16 d;
  const auto x = hn::BitCast(d, a);
  const auto y = hn::BitCast(d, b);
  const auto even = hn::Mul(hn::And(x, hn::Set(d, 255)), hn::ShiftRight<8>(hn::ShiftLeft<8>(y)));
  return hn::Add(even, hn::Mul(hn::And(hn::ShiftRight<8>(x), hn::Set(d, 255)), hn::ShiftRight<8>(y)));
}
HWY_INLINE VI both_halves(hn::Vec<D16> v) {
  const auto w = hn::BitCast(DI(), v);
  return hn::Add(hn::ShiftRight<16>(w), hn::ShiftRight<16>(hn::ShiftLeft<16>(w)));
}
#endif

// sum[v][t] = the products of a strip's block with T tokens, whose values stand at x[t].
template <class F, int T>
HWY_INLINE void block_products(const uint8_t* w, const int8_t* const* x, size_t at, VI (*sum)[T]) {
  constexpr int kSteps = F::kPart / 4;
  const DU8 d8;
  const DI di;
  const auto four = [&](int t, int step) HWY_ATTR {
    int32_t v;
    std::memcpy(&v, x[t] + at + 4 * step, 4);
    return hn::Set(di, v);
  };
#if HWY_TARGET == HWY_AVX3_DL
  for (int v = 0; v < kVectors; v++) {
    for (int t = 0; t < T; t++) sum[v][t] = hn::Zero(di);
  }
  HWY_UNROLL(8)
  for (int step = 0; step < kSteps; step++) {
    V8 q[kVectors];
    for (int v = 0; v < kVectors; v++) q[v] = hn::Load(d8, w + (step * kVectors + v) * kLanes * 4);
    for (int t = 0; t < T; t++) {
      const VI b = four(t, step);
      for (int v = 0; v < kVectors; v++) {
        sum[v][t] = VI{_mm512_dpbusd_epi32(sum[v][t].raw, q[v].raw, b.raw)};
      }
    }
  }
#else
  HWY_UNROLL(4)
  for (int first = 0; first < kSteps; first += F::kSums) {
    hn::Vec<D16> narrow[kVectors][T];
    const auto add = [&](int step, auto is_first) HWY_ATTR {
      V8 q[kVectors];
      for (int v = 0; v < kVectors; v++) q[v] = hn::Load(d8, w + (step * kVectors + v) * kLanes * 4);
      for (int t = 0; t < T; t++) {
        const V8 b = hn::BitCast(d8, four(t, step));
        for (int v = 0; v < kVectors; v++) {
          const auto p = pairs(q[v], b);
          narrow[v][t] = in_order(decltype(is_first)::value ? p : hn::Add(narrow[v][t], p));
        }
      }
    };
    add(first, std::true_type());
    HWY_UNROLL(8)
    for (int step = first + 1; step < first + F::kSums; step++) add(step, std::false_type());
    for (int v = 0; v < kVectors; v++) {
      for (int t = 0; t < T; t++) {
        const VI wide = both_halves(narrow[v][t]);
        sum[v][t] = first == 0 ? wide : hn::Add(sum[v][t], wide);
      }
    }
  }
#endif
}

// One strip against T tokens: y[t][0..rows).
template <class F, int T>
HWY_NOINLINE void tile(const Strip& strip, int64_t n, const std::byte* x, size_t x_stride, float* y,
                       size_t y_stride, int rows) {
  const D d;
  constexpr int kParts = 32 / F::kPart;  // of a block of activations
  const int8_t* values[T];
  const float* scales[T];
  const float* sums[T];
  for (int t = 0; t < T; t++) {
    const std::byte* row = x + t * x_stride;
    values[t] = reinterpret_cast<const int8_t*>(row);
    scales[t] = reinterpret_cast<const float*>(row + n);
    sums[t] = scales[t] + (F::kPart == 32 ? n / 32 : n / 16);
  }
  HWY_ALIGN float total[kVectors][T][kLanes] = {};
  const size_t blocks = n / F::kPart;
  const uint8_t* w = strip.values;
  const float* scale = strip.scales;
  const float* least = strip.least;
  for (size_t block = 0; block < blocks; block++) {
    for (int plane = 0; plane < F::kPlanes; plane++) {
      VI sum[kVectors][T];
      block_products<F, T>(w, values, block * F::kPart, sum);
      for (int v = 0; v < kVectors; v++) {
        const V s = hn::Load(d, scale + v * kLanes);
        const V m = hn::Load(d, least + v * kLanes);
        for (int t = 0; t < T; t++) {
          const V product = hn::Mul(hn::ConvertTo(d, sum[v][t]), hn::Set(d, scales[t][block / kParts]));
          V to = hn::MulAdd(product, s, hn::Load(d, total[v][t]));
          if (plane == 0) to = hn::MulAdd(m, hn::Set(d, sums[t][block]), to);
          hn::Store(to, d, total[v][t]);
        }
      }
      w += static_cast<size_t>(kStripRows) * F::kPart;
      scale += kStripRows;
      least += kStripRows;
    }
  }
  for (int t = 0; t < T; t++) {
    for (int v = 0; v < kVectors; v++) {
      const int count = std::clamp(rows - v * kLanes, 0, kLanes);
      std::copy_n(total[v][t], count, y + t * y_stride + v * kLanes);
    }
  }
}

template <class F>
Strip strip_in(Room& room, int64_t n) {
  const size_t scales = kStripRows * (n / F::kPart) * F::kPlanes;
  return {room.take<uint8_t>(static_cast<size_t>(kStripRows) * n * F::kPlanes), room.take<float>(scales),
          room.take<float>(scales)};
}

template <class F>
void product(const uint8_t* weights, size_t row_bytes, int64_t rows, int64_t n, const std::byte* x,
             size_t x_stride, int64_t tokens, float* y, size_t y_stride, Room room) {
  const Strip strip = strip_in<F>(room, n);
  for (int64_t first = 0; first < rows; first += kStripRows) {
    const int count = static_cast<int>(std::min<int64_t>(kStripRows, rows - first));
    for (int row = 0; row < kStripRows; row++) {  // the last strip's surplus: its first row again
      const uint8_t* from = weights + (first + (row < count ? row : 0)) * row_bytes;
      for (int64_t block = 0; block < n / F::kBlock; block++) {
        F::unpack(from + block * F::kBytes, strip, row, block * (F::kBlock / F::kPart));
      }
    }
    int64_t t = 0;
    for (; t + kTokens <= tokens; t += kTokens) {
      tile<F, kTokens>(strip, n, x + t * x_stride, x_stride, y + t * y_stride + first, y_stride, count);
    }
    for (; t < tokens; t++) {
      tile<F, 1>(strip, n, x + t * x_stride, x_stride, y + t * y_stride + first, y_stride, count);
    }
  }
}

// Calls use(F()) for the format's F.
template <class Use>
void with_format(Int8Format format, Use&& use) {
  switch (format) {
    case Int8Format::q4_0:
      return use(Q4_0());
    case Int8Format::q4_1:
      return use(Q4_1());
    case Int8Format::q5_0:
      return use(Q5_0());
    case Int8Format::q8_0:
      return use(Q8_0());
    case Int8Format::q4_k:
      return use(Q4_K());
    case Int8Format::q5_k:
      return use(Q5_K());
    case Int8Format::q6_k:
      return use(Q6_K());
  }
}

void gemm(Int8Format format, const uint8_t* weights, size_t row_bytes, int64_t rows, int64_t n,
          const std::byte* x, size_t x_stride, int64_t tokens, float* y, size_t y_stride, Room room) {
  with_format(format, [&](auto f) {
    product<decltype(f)>(weights, row_bytes, rows, n, x, x_stride, tokens, y, y_stride, room);
  });
}

size_t strip_bytes(Int8Format format, int64_t n) {
  Room room;
  with_format(format, [&](auto f) { strip_in<decltype(f)>(room, n); });
  return room.bytes();
}

void quantise(const float* x, int64_t n, std::byte* to) {
  const D d;
  const DI di;
  const hn::Rebind<int8_t, D> d8;
  constexpr float kRound = 0x1.8p23F;  // added, it leaves an integer in the last bits
  auto* values = reinterpret_cast<int8_t*>(to);
  auto* scales = reinterpret_cast<float*>(to + n);
  float* sums = scales + n / 32;
  float* half_sums = sums + n / 32;
  for (int64_t block = 0; block < n / 32; block++, x += 32, values += 32) {
    V top = hn::Zero(d);
    for (int i = 0; i < 32; i += kLanes) top = hn::Max(top, hn::Abs(hn::LoadU(d, x + i)));
    const float scale = hn::GetLane(hn::MaxOfLanes(d, top)) / 127.0F;
    const V inverse = hn::Set(d, scale > 0 ? 1.0F / scale : 0.0F);
    int32_t sum[2];
    for (int part = 0; part < 2; part++) {
      VI lanes = hn::Zero(di);
      for (int i = 16 * part; i < 16 * part + 16; i += kLanes) {
        const V rounded = hn::MulAdd(hn::LoadU(d, x + i), inverse, hn::Set(d, kRound));
        const VI q = hn::Sub(hn::BitCast(di, rounded), hn::BitCast(di, hn::Set(d, kRound)));
        lanes = hn::Add(lanes, q);
        hn::StoreU(hn::DemoteTo(d8, q), d8, values + i);
      }
      sum[part] = hn::GetLane(hn::SumOfLanes(di, lanes));
      half_sums[2 * block + part] = scale * static_cast<float>(sum[part]);
    }
    scales[block] = scale;
    sums[block] = scale * static_cast<float>(sum[0] + sum[1]);
  }
}

const char* int8_target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvedit {

HWY_EXPORT(gemm);
HWY_EXPORT(strip_bytes);
HWY_EXPORT(quantise);
HWY_EXPORT(int8_target_name);

void int8_quantise(const float* x, int64_t n, std::byte* to) { HWY_DYNAMIC_DISPATCH(quantise)(x, n, to); }

void int8_gemm(Int8Format format, const void* weights, size_t row_bytes, int64_t rows, int64_t n,
               const std::byte* x, size_t x_stride, int64_t tokens, float* y, size_t y_stride, Room scratch) {
  HWY_DYNAMIC_DISPATCH(gemm)
  (format, static_cast<const uint8_t*>(weights), row_bytes, rows, n, x, x_stride, tokens, y, y_stride,
   scratch);
}

size_t int8_scratch_bytes(Int8Format format, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(strip_bytes)(format, n);
}

const char* int8_target() { return HWY_DYNAMIC_DISPATCH(int8_target_name)(); }

}  // namespace kvedit
#endif  // HWY_ONCE
