#include "compute/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "compute/attention_scratch.h"

#define HWY_WANT_AVX3_DL  // AVX-512 with VNNI
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/attention.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// after highway.h, before what it compiles
#include "compute/vnni-inl.h"
// after both
#include "compute/pairs-inl.h"

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
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kLeast = -1e30F;  // stands for it where a difference is taken

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

struct Columns {
  int begin;
  int end;
};

// The entries of a page that a query at `position` sees: a range, since positions ascend.
Columns visible(const Page& page, Position position, int window) {
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

// Row = token * group + head of the group.
HWY_INLINE const float* query_of(const AttentionTask& task, int row) {
  return task.queries + row / task.group * task.query_stride +
         static_cast<size_t>(row % task.group) * task.key_dim;
}
HWY_INLINE int output_dim(const AttentionTask& task) {
  return task.output_dim > 0 ? task.output_dim : task.value_dim;
}
HWY_INLINE float* output_of(const AttentionTask& task, int row) {
  return task.output + row / task.group * task.output_stride +
         static_cast<size_t>(row % task.group) * output_dim(task);
}
HWY_INLINE Columns columns_of(const AttentionTask& task, const Page& page, int row) {
  return visible(page, task.positions[row / task.group], task.window);
}

// Scores of R rows, from `row` on, against one page, and what each row sees of it.
template <int R, class T>
HWY_INLINE void score_rows(const AttentionTask& task, const Page& page, const T* keys, const T* next_keys,
                           int row, float (*scores)[kPageEntries], Columns* columns) {
  const float* a[R];
  float* s[R];
  for (int r = 0; r < R; r++) {
    a[r] = query_of(task, row + r);
    s[r] = scores[r];
    columns[r] = columns_of(task, page, row + r);
  }
  multiply<R>(a, 0, task.key_dim, keys, kPageEntries, nullptr, s, next_keys);
}

template <int R, class T>
HWY_INLINE void attend_rows(const AttentionTask& task, const Page& page, const T* keys, const T* values,
                            const Page& next, int row, float* maxima, float* sums) {
  HWY_ALIGN float scores[R][kPageEntries];
  Columns columns[R];
  score_rows<R>(task, page, keys, reinterpret_cast<const T*>(next.keys), row, scores, columns);
  const float* weights[R];
  float* output[R];
  float factors[R];
  Columns used{kPageEntries, 0};
  for (int r = 0; r < R; r++) {
    factors[r] = soften(scores[r], columns[r], maxima[row + r], sums[row + r]);
    weights[r] = scores[r];
    output[r] = output_of(task, row + r);
    used = {std::min(used.begin, columns[r].begin), std::max(used.end, columns[r].end)};
  }
  multiply<R>(weights, used.begin, used.end, values, task.value_dim, factors, output,
              reinterpret_cast<const T*>(next.values));
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

void widen(const hwy::float16_t* from, float* to, size_t n) {
  const D d;
  for (size_t i = 0; i < n; i += hn::Lanes(d)) hn::StoreU(load(d, from + i), d, to + i);
}

// Calls use(page, keys, values, next page) for each page, in f32 when many rows will read it.
template <class Use>
void for_pages(const AttentionTask& task, bool want_values, float* wide, Use&& use) {
  const int rows = static_cast<int>(task.positions.size()) * task.group;
  const size_t key_elements = static_cast<size_t>(task.key_dim) * kPageEntries;
  for (size_t i = 0; i < task.pages.size(); i++) {
    const PageRef& page = task.pages[i];
    const Page& next = *task.pages[std::min(i + 1, task.pages.size() - 1)];
    if (task.type == ElementType::f32) {
      use(*page, reinterpret_cast<const float*>(page->keys), reinterpret_cast<const float*>(page->values),
          next);
    } else if (rows <= 2 * kRowTile) {
      use(*page, reinterpret_cast<const hwy::float16_t*>(page->keys),
          reinterpret_cast<const hwy::float16_t*>(page->values), next);
    } else {
      const size_t value_elements = static_cast<size_t>(task.value_dim) * page->count;
      widen(reinterpret_cast<const hwy::float16_t*>(page->keys), wide, key_elements);
      if (want_values) {
        widen(reinterpret_cast<const hwy::float16_t*>(page->values), wide + key_elements, value_elements);
      }
      use(*page, static_cast<const float*>(wide), static_cast<const float*>(wide) + key_elements, next);
    }
  }
}

// Whether enough rows share a page for its rounding to pay.
bool in_pairs(const AttentionTask& task, int rows) {
  return task.integers && task.type == ElementType::f16 && rows > 8 * kRowTile && task.key_dim % 16 == 0 &&
         task.value_dim % 16 == 0;
}

// A task's queries [rows][key_dim] in units of a row's own.
struct PairedQueries {
  PairedQueries(const AttentionTask& task, int rows, const AttentionScratch& scratch)
      : values(scratch.queries), units(scratch.query_units) {
    for (int row = 0; row < rows; row++) {
      int16_t* to = values + static_cast<size_t>(row) * task.key_dim;
      units[row] = round_row(query_of(task, row), task.key_dim, to);
    }
  }
  int16_t* values;
  float* units;
};

struct PairedKeys {
  PairedKeys(const AttentionTask& task, const Page& page, int32_t* room) : values(room) {
    pair_columns(reinterpret_cast<const hwy::float16_t*>(page.keys), task.key_dim, kPageEntries, values,
                 units);
  }
  int32_t* values;
  HWY_ALIGN float units[kPageEntries];
};

struct PairedValues {
  PairedValues(const AttentionTask& task, const Page& page, int32_t* room) : values(room) {
    pair_rows(reinterpret_cast<const hwy::float16_t*>(page.values), page.count, task.value_dim, kValueLargest,
              values, units);
    std::partial_sum(units, units + kPageEntries, largest_so_far,
                     [](float a, float b) { return std::max(a, b); });
  }
  int32_t* values;
  HWY_ALIGN float units[kPageEntries] = {};
  // Up to an entry: what a query does not see changes nothing for it.
  float largest_so_far[kPageEntries];
};

// score_rows in pairs.
template <int R>
HWY_INLINE void score_pairs(const AttentionTask& task, const Page& page, const PairedQueries& queries,
                            const PairedKeys& keys, int row, float (*scores)[kPageEntries],
                            Columns* columns) {
  const int16_t* a[R];
  float* s[R];
  for (int r = 0; r < R; r++) {
    a[r] = queries.values + static_cast<size_t>(row + r) * task.key_dim;
    s[r] = scores[r];
    columns[r] = columns_of(task, page, row + r);
  }
  multiply_pairs<R, vectors(R)>(a, queries.units + row, 0, task.key_dim / 2, keys.values, keys.units,
                                kPageEntries, nullptr, s);
}

// attend_task for f16 entries, in products of pairs.
void attend_pairs(const AttentionTask& task, int rows, const AttentionScratch& scratch, float* maxima,
                  float* sums) {
  const PairedQueries queries(task, rows, scratch);
  for (const PageRef& page : task.pages) {
    const PairedKeys keys(task, *page, scratch.keys);
    const PairedValues values(task, *page, scratch.values);
    for_row_tiles(rows, [&](auto tile_rows, int row) {
      constexpr int R = decltype(tile_rows)::value;
      HWY_ALIGN float scores[R][kPageEntries];
      HWY_ALIGN int16_t weights[R][kPageEntries];
      const int16_t* p[R];
      float* output[R];
      float factors[R], units[R];
      Columns columns[R];
      Columns used{kPageEntries, 0};
      score_pairs<R>(task, *page, queries, keys, row, scores, columns);
      soften_pairs<R>(scores, columns, values.units, values.largest_so_far, maxima + row, sums + row, weights,
                      factors, units);
      for (int r = 0; r < R; r++) {
        p[r] = weights[r];
        output[r] = output_of(task, row + r);
        used = {std::min(used.begin, columns[r].begin), std::max(used.end, columns[r].end)};
      }
      multiply_pairs<R, vectors(R)>(p, units, used.begin / 2, (used.end + 1) / 2, values.values, nullptr,
                                    task.value_dim, factors, output);
    });
  }
}

void attend_task(const AttentionTask& task, const AttentionScratch& scratch) {
  const int rows = static_cast<int>(task.positions.size()) * task.group;
  float* maxima = task.maxima ? task.maxima : scratch.maxima;
  float* sums = task.sums ? task.sums : scratch.sums;
  std::fill_n(maxima, rows, kMinusInfinity);
  std::fill_n(sums, rows, 0.0F);
  const size_t width = static_cast<size_t>(task.group) * output_dim(task);
  for (size_t t = 0; t < task.positions.size(); t++)
    std::fill_n(task.output + t * task.output_stride, width, 0.0F);
  if (in_pairs(task, rows)) {
    attend_pairs(task, rows, scratch, maxima, sums);
  } else {
    for_pages(task, true, scratch.wide,
              [&](const Page& page, const auto* keys, const auto* values, const Page& next) {
                for_row_tiles(rows, [&](auto tile_rows, int row) {
                  attend_rows<decltype(tile_rows)::value>(task, page, keys, values, next, row, maxima, sums);
                });
              });
  }
  if (!task.normalise) return;
  for (int row = 0; row < rows; row++) {
    float* out = output_of(task, row);
    const float scale = sums[row] > 0 ? 1.0F / sums[row] : 0.0F;
    for (int i = 0; i < task.value_dim; i++) out[i] *= scale;
  }
}

// weights [rows][64] of one page, from scores and the rows' maxima and sums; 0 outside the columns.
HWY_INLINE void weigh(float* scores, Columns columns, float maximum, float sum) {
  const D d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const V begin = hn::Set(d, static_cast<float>(columns.begin));
  const V end = hn::Set(d, static_cast<float>(sum > 0 ? columns.end : 0));
  const V scale = hn::Set(d, sum > 0 ? 1.0F / sum : 0.0F);
  for (int c = 0; c < kPageEntries; c += lanes) {
    const V at = hn::Iota(d, static_cast<float>(c));
    const V below = hn::Min(hn::Sub(hn::LoadU(d, scores + c), hn::Set(d, maximum)), hn::Zero(d));
    const V weight = hn::Mul(exp_of_negative(below), scale);
    hn::StoreU(hn::IfThenElseZero(hn::And(hn::Ge(at, begin), hn::Lt(at, end)), weight), d, scores + c);
  }
}

void weigh_task(const AttentionTask& task, const AttentionScratch& scratch, const float* maxima,
                const float* sums, float* weights, size_t stride) {
  const int rows = static_cast<int>(task.positions.size()) * task.group;
  size_t first = 0;  // of this page's entries
  const auto weigh_page = [&](const Page& page, auto&& score) {
    for_row_tiles(rows, [&](auto tile_rows, int row) {
      constexpr int R = decltype(tile_rows)::value;
      HWY_ALIGN float scores[R][kPageEntries];
      Columns columns[R];
      score(tile_rows, row, scores, columns);
      for (int r = 0; r < R; r++) {
        weigh(scores[r], columns[r], maxima[row + r], sums[row + r]);
        float* out = weights + (stride > 0 ? (row + r) * stride : 0) + first;
        if (stride > 0) {
          std::copy_n(scores[r], page.count, out);
        } else {
          for (int c = 0; c < page.count; c++) out[c] += scores[r][c];
        }
      }
    });
    first += page.count;
  };
  if (in_pairs(task, rows)) {
    const PairedQueries queries(task, rows, scratch);
    for (const PageRef& page : task.pages) {
      const PairedKeys keys(task, *page, scratch.keys);
      weigh_page(*page, [&](auto tile_rows, int row, auto* scores, Columns* columns) {
        score_pairs<decltype(tile_rows)::value>(task, *page, queries, keys, row, scores, columns);
      });
    }
    return;
  }
  for_pages(task, false, scratch.wide, [&](const Page& page, const auto* keys, const auto*, const Page&) {
    weigh_page(page, [&](auto tile_rows, int row, auto* scores, Columns* columns) {
      score_rows<decltype(tile_rows)::value>(task, page, keys, keys, row, scores, columns);
    });
  });
}

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvedit {

HWY_EXPORT(attend_task);
HWY_EXPORT(weigh_task);
HWY_EXPORT(target_name);

namespace {

AttentionScratch scratch_of(const AttentionTask& task) {
  const size_t rows = task.positions.size() * task.group;
  Room room = task.scratch ? Room(task.scratch)
                           : own_scratch(attention_scratch_bytes(rows, task.key_dim, task.value_dim));
  return {room, rows, task.key_dim, task.value_dim};
}

}  // namespace

size_t attention_scratch_bytes(size_t rows, int key_dim, int value_dim) {
  Room room;
  const AttentionScratch counted(room, rows, key_dim, value_dim);
  return room.bytes();
}

// Kernels write whole vectors. Heads of another size (100, 120) get rows with room for that, and are copied.
void attend(const AttentionTask& task) {
  const AttentionScratch scratch = scratch_of(task);
  if (task.value_dim % kVectorElements == 0) return HWY_DYNAMIC_DISPATCH(attend_task)(task, scratch);
  AttentionTask padded = task;
  padded.output_dim = static_cast<int>(whole_vectors(task.value_dim));
  padded.output_stride = static_cast<size_t>(task.group) * padded.output_dim;
  padded.output = scratch.padded;
  HWY_DYNAMIC_DISPATCH(attend_task)(padded, scratch);
  for (size_t t = 0; t < task.positions.size(); t++) {
    for (int g = 0; g < task.group; g++) {
      const float* from =
          padded.output + t * padded.output_stride + static_cast<size_t>(g) * padded.output_dim;
      std::copy_n(from, task.value_dim,
                  task.output + t * task.output_stride + static_cast<size_t>(g) * task.value_dim);
    }
  }
}

void attention_weights(const AttentionTask& task, const float* maxima, const float* sums, float* weights,
                       size_t stride) {
  HWY_DYNAMIC_DISPATCH(weigh_task)(task, scratch_of(task), maxima, sums, weights, stride);
}

const char* attention_target() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

std::span<const PageRef> reachable(std::span<const PageRef> pages, Position first, Position last,
                                   int window) {
  auto begin = pages.begin();
  if (window > 0) {
    begin = std::partition_point(begin, pages.end(), [&](const PageRef& page) {
      return page->positions[page->count - 1] <= first - window;
    });
  }
  const auto end = std::partition_point(begin, pages.end(),
                                        [&](const PageRef& page) { return page->positions[0] <= last; });
  return {begin, end};
}

void merge_parts(std::span<const AttentionPart> parts, int value_dim, float* output) {
  float maximum = -std::numeric_limits<float>::infinity();
  for (const AttentionPart& part : parts) maximum = std::max(maximum, part.maximum);
  std::fill_n(output, value_dim, 0.0F);
  float sum = 0;
  for (const AttentionPart& part : parts) {
    if (!(part.sum > 0)) continue;
    const float weight = std::exp(part.maximum - maximum);
    sum += weight * part.sum;
    for (int i = 0; i < value_dim; i++) output[i] += weight * part.output[i];
  }
  const float scale = sum > 0 ? 1.0F / sum : 0.0F;
  for (int i = 0; i < value_dim; i++) output[i] *= scale;
}

}  // namespace kvedit
#endif  // HWY_ONCE
