#include "compute/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "compute/kernels/attention_scratch.h"

#define HWY_WANT_AVX3_DL  // AVX-512 with VNNI
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/kernels/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// after highway.h, before what it compiles
#include "compute/kernels/vnni-inl.h"
// after both
#include "compute/kernels/pairs-inl.h"
#include "compute/kernels/softmax-inl.h"
#include "compute/kernels/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

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
