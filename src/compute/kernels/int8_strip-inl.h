// Weight formats unpacked to strips of bytes: what the integer kernels of int8_gemm.cc read. Compiled once a
// target, as Highway's own -inl.h headers.
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#if defined(KVEDIT_INT8_STRIP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef KVEDIT_INT8_STRIP_INL_H
#undef KVEDIT_INT8_STRIP_INL_H
#else
#define KVEDIT_INT8_STRIP_INL_H
#endif

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;

constexpr bool kVnni = HWY_TARGET == HWY_AVX3_DL;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
constexpr int kVectors = 2;                    // of a strip
constexpr int kStripRows = kVectors * kLanes;  // weight rows of a strip, one a lane

// kStripRows rows, unpacked: a weight is scale * q + least.
struct Strip {
  uint8_t* values;  // [n / 4][kStripRows][4] q; [plane] inside a block of 32 where a format has two
  float* scales;    // [blocks][kStripRows]
  float* least;     // [blocks][kStripRows]

  // q of weights [at, at + count) of a row.
  void put(int row, size_t at, size_t count, const uint8_t* q) const {
    uint8_t* to = values + at * kStripRows + row * 4;
    for (size_t i = 0; i < count; i += 4) std::memcpy(to + i * kStripRows, q + i, 4);
  }
  void put_scale(int row, size_t block, float scale, float minimum) const {
    scales[block * kStripRows + row] = scale;
    least[block * kStripRows + row] = minimum;
  }
};

HWY_INLINE float half(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  const hn::CappedTag<float, 4> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d16;
  const auto v = hn::BitCast(d16, hn::Set(hn::RebindToUnsigned<decltype(d16)>(), bits));
  return hn::GetLane(hn::PromoteTo(d, v));
}

// 16 bytes -> their 16 lower nibbles, and their 16 upper ones.
HWY_INLINE void split_nibbles(const uint8_t* from, uint8_t* low, uint8_t* high) {
  const hn::Full128<uint8_t> d;
  const hn::Full128<uint16_t> d16;
  const auto mask = hn::Set(d, 15);
  const auto v = hn::LoadU(d, from);
  hn::StoreU(hn::And(v, mask), d, low);
  hn::StoreU(hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(d16, v))), mask), d, high);
}

// A format: kBlock weights of kBytes bytes; kPart weights share a scale in the strip; q < 2^kBits, so that
// kSums sums of two products with 7 bits and a sign fit into 16 bits; kPlanes: q is spread over so many strip
// blocks.
struct Q4_0 {
  static constexpr int kBlock = 32, kBytes = 18, kPart = 32, kSums = 8, kPlanes = 1;
  static HWY_INLINE void unpack(const uint8_t* p, Strip to, int row, size_t block) {
    uint8_t q[32];
    split_nibbles(p + 2, q, q + 16);
    const float scale = half(p);
    to.put(row, block * 32, 32, q);
    to.put_scale(row, block, scale, -8 * scale);
  }
};

struct Q4_1 {
  static constexpr int kBlock = 32, kBytes = 20, kPart = 32, kSums = 8, kPlanes = 1;
  static HWY_INLINE void unpack(const uint8_t* p, Strip to, int row, size_t block) {
    uint8_t q[32];
    split_nibbles(p + 4, q, q + 16);
    to.put(row, block * 32, 32, q);
    to.put_scale(row, block, half(p), half(p + 2));
  }
};

struct Q5_0 {
  static constexpr int kBlock = 32, kBytes = 22, kPart = 32, kSums = 4, kPlanes = 1;
  static HWY_INLINE void unpack(const uint8_t* p, Strip to, int row, size_t block) {
    uint8_t q[32];
    split_nibbles(p + 6, q, q + 16);
    uint32_t fifth;
    std::memcpy(&fifth, p + 2, 4);
    for (int i = 0; i < 32; i++) q[i] |= static_cast<uint8_t>((fifth >> i & 1) << 4);
    const float scale = half(p);
    to.put(row, block * 32, 32, q);
    to.put_scale(row, block, scale, -16 * scale);
  }
};

// Eight bits do not leave room for a second product in 16 bits: q + 128 = 16 high + low.
struct Q8_0 {
  static constexpr int kBlock = 32, kBytes = 34, kPart = 32, kSums = 8, kPlanes = kVnni ? 1 : 2;
  static HWY_INLINE void unpack(const uint8_t* p, Strip to, int row, size_t block) {
    const float scale = half(p);
    uint8_t q[32];
    for (int i = 0; i < 32; i++) q[i] = p[2 + i] ^ 0x80;
    if constexpr (kPlanes == 1) {
      to.put(row, block * 32, 32, q);
      to.put_scale(row, block, scale, -128 * scale);
    } else {
      uint8_t plane[32];
      for (int i = 0; i < 32; i++) plane[i] = q[i] >> 4;
      to.put(row, block * 64, 32, plane);
      to.put_scale(row, 2 * block, 16 * scale, -128 * scale);
      for (int i = 0; i < 32; i++) plane[i] = q[i] & 15;
      to.put(row, block * 64 + 32, 32, plane);
      to.put_scale(row, 2 * block + 1, scale, 0);
    }
  }
};

// K-quants: 256 weights, eight parts of 32 with a 6-bit scale and minimum each.
HWY_INLINE void put_k_scales(const uint8_t* p, Strip to, int row, size_t block) {
  const float scale = half(p);
  const float minimum = half(p + 2);
  const uint8_t* s = p + 4;
  for (int i = 0; i < 8; i++) {
    const int a = i < 4 ? s[i] & 63 : (s[i + 4] & 15) | (s[i - 4] >> 6 << 4);
    const int b = i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | (s[i] >> 6 << 4);
    to.put_scale(row, block + i, scale * static_cast<float>(a), -minimum * static_cast<float>(b));
  }
}

struct Q4_K {
  static constexpr int kBlock = 256, kBytes = 144, kPart = 32, kSums = 8, kPlanes = 1;
  static HWY_INLINE void unpack(const uint8_t* p, Strip to, int row, size_t block) {
    put_k_scales(p, to, row, block);
    for (int i = 0; i < 4; i++) {
      uint8_t q[64];
      split_nibbles(p + 16 + 32 * i, q, q + 32);
      split_nibbles(p + 32 + 32 * i, q + 16, q + 48);
      to.put(row, (block + 2 * i) * 32, 64, q);
    }
  }
};

struct Q5_K {
  static constexpr int kBlock = 256, kBytes = 176, kPart = 32, kSums = 4, kPlanes = 1;
  static HWY_INLINE void unpack(const uint8_t* p, Strip to, int row, size_t block) {
    put_k_scales(p, to, row, block);
    for (int i = 0; i < 4; i++) {
      uint8_t q[64];
      split_nibbles(p + 48 + 32 * i, q, q + 32);
      split_nibbles(p + 64 + 32 * i, q + 16, q + 48);
      for (int k = 0; k < 64; k++) q[k] |= (p[16 + k % 32] >> (2 * i + k / 32) & 1) << 4;
      to.put(row, (block + 2 * i) * 32, 64, q);
    }
  }
};

// 16 parts of 16.
struct Q6_K {
  static constexpr int kBlock = 256, kBytes = 210, kPart = 16, kSums = 2, kPlanes = 1;
  static HWY_INLINE void unpack(const uint8_t* p, Strip to, int row, size_t block) {
    const float scale = half(p + 208);
    for (int i = 0; i < 2; i++) {
      const uint8_t* low = p + 64 * i;
      const uint8_t* high = p + 128 + 32 * i;
      uint8_t q[128];
      for (int k = 0; k < 32; k++) {
        q[k] = (low[k] & 15) | (high[k] & 3) << 4;
        q[k + 32] = (low[k + 32] & 15) | (high[k] >> 2 & 3) << 4;
        q[k + 64] = low[k] >> 4 | (high[k] >> 4 & 3) << 4;
        q[k + 96] = low[k + 32] >> 4 | high[k] >> 6 << 4;
      }
      to.put(row, (block + 8 * i) * 16, 128, q);
      for (int k = 0; k < 8; k++) {
        const float part = scale * static_cast<float>(static_cast<int8_t>(p[192 + 8 * i + k]));
        to.put_scale(row, block + 8 * i + k, part, -32 * part);
      }
    }
  }
};

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // KVEDIT_INT8_STRIP_INL_H
