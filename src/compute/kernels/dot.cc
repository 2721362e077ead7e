#include "compute/kernels/dot.h"

#include <algorithm>
#include <array>
#include <cstring>

#define HWY_WANT_AVX3_DL  // AVX-512 with VNNI
#if defined(__x86_64__)
#define HWY_BASELINE_TARGETS HWY_SSSE3  // byte shuffles; every CPU since 2006
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/kernels/dot.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// after highway.h, before what it compiles
#include "compute/kernels/vnni-inl.h"
// after both
#include "compute/kernels/blocks-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The block at place i of a row: the last group may start before the end of the one before.
HWY_INLINE size_t block_of(size_t i, size_t blocks) { return std::min(i & ~size_t{3}, blocks - 4) + (i & 3); }

// kBlocks blocks of a row: a weight is scale * q + least, with scale and least times 2^-112. Four lanes a
// block.
struct Weights {
  V8 low, high;  // q of elements 0..15 and 16..31
  V scale, least;
};

HWY_INLINE void split_nibbles(V8 packed, Weights& w) {
  const D8 d;
  const hn::Repartition<uint16_t, D> d16;
  const V8 mask = hn::Set(d, 0x0F);
  w.low = hn::And(packed, mask);
  w.high = hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(d16, packed))), mask);
}

HWY_INLINE V times(V v, float factor) { return hn::Mul(v, hn::Set(D(), factor)); }

struct Q4_0 {
  static constexpr size_t kGroupBytes = 72;
  static constexpr bool kSigned = false;
  static constexpr bool kHasLeast = true;
  static HWY_INLINE void unpack(const uint8_t* row, size_t block, Weights& w) {
    const Blocks<18, 72> blocks(row + block * 18);
    split_nibbles(blocks.bytes<2>(), w);
    w.scale = lower_half(blocks.word<0>());
    w.least = times(w.scale, -8);
  }
};

struct Q4_1 {
  static constexpr size_t kGroupBytes = 80;
  static constexpr bool kSigned = false;
  static constexpr bool kHasLeast = true;
  static HWY_INLINE void unpack(const uint8_t* row, size_t block, Weights& w) {
    const Blocks<20, 80> blocks(row + block * 20);
    split_nibbles(blocks.bytes<4>(), w);
    const auto numbers = blocks.word<0>();
    w.scale = lower_half(numbers);
    w.least = upper_half(numbers);
  }
};

// As Q4_0, with the fifth bits of all 32 in front.
struct Q5_0 {
  static constexpr size_t kGroupBytes = 88;
  static constexpr bool kSigned = false;
  static constexpr bool kHasLeast = true;
  static HWY_INLINE void unpack(const uint8_t* row, size_t block, Weights& w) {
    const D8 d;
    const Blocks<22, 88> blocks(row + block * 22);
    split_nibbles(blocks.bytes<6>(), w);
    const V8 all = hn::BitCast(d, blocks.word<2>());
    HWY_ALIGN static constexpr uint8_t kByte[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    HWY_ALIGN static constexpr uint8_t kBit[] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const auto fifth = [&](V8 places) HWY_ATTR {
      const auto set = hn::TestBit(hn::TableLookupBytes(all, places), hn::LoadDup128(d, kBit));
      return hn::IfThenElseZero(set, hn::Set(d, 16));
    };
    const V8 places = hn::LoadDup128(d, kByte);
    w.low = hn::Or(w.low, fifth(places));
    w.high = hn::Or(w.high, fifth(hn::Add(places, hn::Set(d, 2))));
    w.scale = lower_half(blocks.word<0>());
    w.least = times(w.scale, -16);
  }
};

struct Q8_0 {
  static constexpr size_t kGroupBytes = 136;
  static constexpr bool kSigned = true;
  static constexpr bool kHasLeast = kUnsigned;
  static HWY_INLINE void unpack(const uint8_t* row, size_t block, Weights& w) {
    const uint8_t* p = row + block * 34;
    const Blocks<34, 120> blocks(p);
    const V8 flip = hn::Set(D8(), kUnsigned ? 0x80 : 0);
    w.low = hn::Xor(blocks.bytes<2>(), flip);
    w.high = hn::Xor(Blocks<34, 118>(p + 18).bytes<0>(), flip);
    w.scale = lower_half(blocks.word<0>());
    w.least = times(w.scale, -128);
  }
};

// R rows against T tokens.
template <class Q, int R, int T>
void tile(const uint8_t* weights, size_t row_bytes, const DotInput& x, size_t token, float* y,
          size_t y_stride) {
  const D d;
  V sum[R][T];
  for (int r = 0; r < R; r++) {
    for (int t = 0; t < T; t++) sum[r][t] = hn::Zero(d);
  }
  const Group* group = x.values + token * x.groups;
  for (size_t g = 0; g < x.groups; g++, group++) {
    const size_t block = block_of(4 * g, x.blocks);
    const size_t repeated = 4 * g - block;
    for (size_t b = repeated / kBlocks * kBlocks; b < 4; b += kBlocks) {
      HWY_UNROLL(4)
      for (int r = 0; r < R; r++) {
        const uint8_t* row = weights + r * row_bytes;
        for (size_t line = 0; line < Q::kGroupBytes; line += 64) {
          hwy::Prefetch(row + kAhead + block / 4 * Q::kGroupBytes + line);
        }
        Weights w;
        Q::unpack(row, block + b, w);
        for (int t = 0; t < T; t++) {
          const Group& v = group[t * x.groups];
          const V product = hn::ConvertTo(d, dot<Q::kSigned>(w.low, w.high, v, b));
          sum[r][t] = hn::MulAdd(product, hn::Mul(w.scale, hn::LoadU(d, v.scales[b])), sum[r][t]);
          if constexpr (Q::kHasLeast) sum[r][t] = hn::MulAdd(w.least, hn::LoadU(d, v.sums[b]), sum[r][t]);
        }
      }
    }
  }
  for (int r = 0; r < R; r++) {
    for (int t = 0; t < T; t++) {
      y[(token + t) * y_stride + r] = hn::GetLane(hn::SumOfLanes(d, sum[r][t]));
    }
  }
}

// T tokens against all rows.
template <class Q, int T>
void strip(const uint8_t* weights, size_t row_bytes, int64_t rows, const DotInput& x, size_t token, float* y,
           size_t y_stride) {
  constexpr int kRows = T == 1 ? 4 : 2;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    tile<Q, kRows, T>(weights + r * row_bytes, row_bytes, x, token, y + r, y_stride);
  }
  for (; r < rows; r++) tile<Q, 1, T>(weights + r * row_bytes, row_bytes, x, token, y + r, y_stride);
}

template <class Q>
void all(const uint8_t* weights, size_t row_bytes, int64_t rows, const DotInput& x, float* y,
         size_t y_stride) {
  size_t token = 0;
  for (; token + 4 <= x.tokens; token += 4) strip<Q, 4>(weights, row_bytes, rows, x, token, y, y_stride);
  for (; token + 2 <= x.tokens; token += 2) strip<Q, 2>(weights, row_bytes, rows, x, token, y, y_stride);
  for (; token < x.tokens; token++) strip<Q, 1>(weights, row_bytes, rows, x, token, y, y_stride);
}

void all_rows(DotType type, const uint8_t* weights, size_t row_bytes, int64_t rows, const DotInput& x,
              float* y, size_t y_stride) {
  switch (type) {
    case DotType::q4_0:
      return all<Q4_0>(weights, row_bytes, rows, x, y, y_stride);
    case DotType::q4_1:
      return all<Q4_1>(weights, row_bytes, rows, x, y, y_stride);
    case DotType::q5_0:
      return all<Q5_0>(weights, row_bytes, rows, x, y, y_stride);
    case DotType::q8_0:
      return all<Q8_0>(weights, row_bytes, rows, x, y, y_stride);
  }
}

// 32 activations -> a block of a group.
void quantise_block(const float* x, Group& group, int block) {
  constexpr float kWiden = 0x1p112F;  // see upper_half()
  const hn::Full128<float> d;
  const hn::Full128<int32_t> di;
  const hn::Rebind<int8_t, decltype(d)> d8;
  auto top = hn::Zero(d);
  for (int i = 0; i < 32; i += 4) top = hn::Max(top, hn::Abs(hn::LoadU(d, x + i)));
  const float scale = hn::GetLane(hn::MaxOfLanes(d, top)) / 127.0F;
  const auto inverse = hn::Set(d, scale > 0 ? 1.0F / scale : 0.0F);
  auto sum = hn::Zero(di);
  for (int i = 0; i < 32; i += 4) {
    const auto q = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), inverse));
    sum = hn::Add(sum, q);
    hn::StoreU(hn::DemoteTo(d8, q), d8, group.values[i / 16][block] + i % 16);
  }
  std::fill_n(group.scales[block], 4, scale * kWiden);
  std::fill_n(group.sums[block], 4, 0.0F);
  group.sums[block][0] = scale * static_cast<float>(hn::GetLane(hn::SumOfLanes(di, sum))) * kWiden;
}

void quantise_input(const float* x, size_t stride, DotInput& to) {
  for (size_t t = 0; t < to.tokens; t++) {
    for (size_t i = 0; i < 4 * to.groups; i++) {
      const size_t block = block_of(i, to.blocks);
      Group& group = to.values[t * to.groups + i / 4];
      quantise_block(x + t * stride + block * 32, group, i % 4);
      if (block >= i - i % 4) continue;
      std::fill_n(group.scales[i % 4], 4, 0.0F);  // the group before has it
      group.sums[i % 4][0] = 0.0F;
    }
  }
}

const char* dot_target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvedit {

HWY_EXPORT(all_rows);
HWY_EXPORT(quantise_input);
HWY_EXPORT(dot_target_name);

DotInput::DotInput(Room& room, int64_t count, int64_t n)
    : tokens(count), blocks(n / 32), groups((blocks + 3) / 4), values(room.take<Group>(tokens * groups)) {}

void DotInput::quantise(const float* x, size_t stride) {
  HWY_DYNAMIC_DISPATCH(quantise_input)(x, stride, *this);
}

bool dot_takes(int64_t n) { return n >= 128 && n % 32 == 0; }

void dot_rows(DotType type, const void* weights, size_t row_bytes, int64_t rows, const DotInput& x, float* y,
              size_t y_stride) {
  HWY_DYNAMIC_DISPATCH(all_rows)
  (type, static_cast<const uint8_t*>(weights), row_bytes, rows, x, y, y_stride);
}

const char* dot_target() { return HWY_DYNAMIC_DISPATCH(dot_target_name)(); }

}  // namespace kvedit
#endif  // HWY_ONCE
