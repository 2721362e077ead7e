#include "evict/scorers/page_rows.h"

#include <ggml-cpu.h>

#include <algorithm>

namespace kvedit {
namespace {

// n elements as f32: where they stand, or widened into `room`.
const float* widened(const PageShape& shape, const std::byte* elements, size_t n, std::vector<float>& room) {
  if (shape.type == ElementType::f32) return reinterpret_cast<const float*>(elements);
  room.resize(n);
  ggml_cpu_fp16_to_fp32(reinterpret_cast<const ggml_fp16_t*>(elements), room.data(), static_cast<int64_t>(n));
  return room.data();
}

}  // namespace

const float* PageRows::keys(const Page& page) {
  return widened(shape_, page.keys, static_cast<size_t>(shape_.key_dim) * kPageEntries, keys_);
}

const float* PageRows::entries(const Page& page) {
  return widened(shape_, page.values, static_cast<size_t>(shape_.value_dim) * kPageEntries, entries_);
}

const float* PageRows::values(const Page& page) {
  const int dim = shape_.value_dim;
  const float* entries = this->entries(page);
  values_.resize(static_cast<size_t>(dim) * kPageEntries);
  for (int entry = 0; entry < page.count; entry++) {
    for (int i = 0; i < dim; i++) values_[i * kPageEntries + entry] = entries[entry * dim + i];
  }
  return values_.data();
}

void column_squares(const float* rows, int dim, float* to) {
  std::fill_n(to, kPageEntries, 0.0F);
  for (int i = 0; i < dim; i++) {
    const float* row = rows + static_cast<size_t>(i) * kPageEntries;
    for (int c = 0; c < kPageEntries; c++) to[c] += row[c] * row[c];
  }
}

void column_distances(const float* rows, int dim, const float* vector, float* to) {
  std::fill_n(to, kPageEntries, 0.0F);
  for (int i = 0; i < dim; i++) {
    const float* row = rows + static_cast<size_t>(i) * kPageEntries;
    const float x = vector[i];
    for (int c = 0; c < kPageEntries; c++) to[c] += (x - row[c]) * (x - row[c]);
  }
}

}  // namespace kvedit
