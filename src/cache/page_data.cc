#include "cache/page_data.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace kvedit {
namespace {

using Row = std::array<float, kPageEntries>;  // one dimension of all entries of a page

// Calls body with a pointer of the element's type; f16 travels as its bits.
template <typename Body>
void with_elements(const PageShape& shape, Body body) {
  if (shape.type == ElementType::f16) {
    body(static_cast<ggml_fp16_t*>(nullptr));
  } else {
    body(static_cast<float*>(nullptr));
  }
}

template <typename T>
T* elements(std::byte* bytes, size_t offset = 0) {
  return reinterpret_cast<T*>(bytes) + offset;
}

void to_f32(const ggml_fp16_t* from, float* to, int n) { ggml_cpu_fp16_to_fp32(from, to, n); }
void to_f32(const float* from, float* to, int n) { std::copy_n(from, n, to); }

// Both return whether a number was cut.
bool from_f32(const float* from, ggml_fp16_t* to, int n) {
  constexpr float kLargest = 65504;
  int beyond = 0;  // not bool: so the compiler makes vectors of it
  for (int i = 0; i < n; i++) beyond |= static_cast<int>(std::fabs(from[i]) > kLargest);
  ggml_cpu_fp32_to_fp16(from, to, n);
  for (int i = 0; beyond != 0 && i < n; i++) {
    if (std::fabs(from[i]) > kLargest) to[i] = ggml_fp32_to_fp16(std::copysign(kLargest, from[i]));
  }
  return beyond != 0;
}
bool from_f32(const float* from, float* to, int n) {
  std::copy_n(from, n, to);
  return false;
}

// x + iy turns by the angle; all 64 columns, whose number the compiler knows, so that it vectorises.
void turn_rows(Row& x, Row& y, float cosine, float sine) {
  for (int i = 0; i < kPageEntries; i++) {
    const float turned = x[i] * cosine - y[i] * sine;
    y[i] = x[i] * sine + y[i] * cosine;
    x[i] = turned;
  }
}

}  // namespace

void copy_range(const PageShape& shape, const Page& from, int first, int n, Page& to, int at) {
  if (n == 0 || (&from == &to && first == at)) return;
  const size_t element = shape.element_bytes();
  const size_t row = kPageEntries * element;
  std::memmove(&to.positions[at], &from.positions[first], n * sizeof(Position));
  for (int d = 0; d < shape.key_dim; d++) {
    std::memmove(to.keys + d * row + at * element, from.keys + d * row + first * element, n * element);
  }
  const size_t value = shape.value_dim * element;
  std::memmove(to.values + at * value, from.values + first * value, n * value);
}

void copy_slots(const PageShape& shape, const Page& from, std::span<const uint8_t> slots, Page& to, int at) {
  const int n = static_cast<int>(slots.size());
  if (n == 0) return;
  if (slots.back() - slots.front() + 1 == n) {
    copy_range(shape, from, slots.front(), n, to, at);
    return;
  }
  for (int i = 0; i < n; i++) to.positions[at + i] = from.positions[slots[i]];
  with_elements(shape, [&]<typename T>(T*) {
    for (int d = 0; d < shape.key_dim; d++) {
      const T* in = elements<T>(from.keys, d * kPageEntries);
      T* out = elements<T>(to.keys, d * kPageEntries + at);
      for (int i = 0; i < n; i++) out[i] = in[slots[i]];
    }
  });
  const size_t value = shape.value_dim * shape.element_bytes();
  for (int i = 0; i < n; i++) {
    std::memmove(to.values + (at + i) * value, from.values + slots[i] * value, value);
  }
}

bool turn_keys(const PageShape& shape, const Page& from, Page& to, int begin, int end, const Rope& rope,
               std::span<const float> cosines, std::span<const float> sines) {
  const int n = end - begin;
  const int pairs = rope.dims() / 2;
  bool cut = false;
  with_elements(shape, [&]<typename T>(T*) {
    Row x{}, y{};
    for (int pair = 0; pair < pairs; pair++) {
      const size_t first = static_cast<size_t>(rope.first(pair)) * kPageEntries + begin;
      const size_t second = static_cast<size_t>(rope.second(pair)) * kPageEntries + begin;
      to_f32(elements<T>(from.keys, first), x.data(), n);
      to_f32(elements<T>(from.keys, second), y.data(), n);
      turn_rows(x, y, cosines[pair], sines[pair]);
      cut |= from_f32(x.data(), elements<T>(to.keys, first), n);
      cut |= from_f32(y.data(), elements<T>(to.keys, second), n);
    }
    if (&from == &to) return;
    for (int d = rope.dims(); d < shape.key_dim; d++) {
      const size_t row = static_cast<size_t>(d) * kPageEntries + begin;
      std::copy_n(elements<T>(from.keys, row), n, elements<T>(to.keys, row));
    }
  });
  return cut;
}

bool store_entry(const PageShape& shape, Page& page, int slot, const float* key, const float* value) {
  bool cut = false;
  with_elements(shape, [&]<typename T>(T*) {
    std::array<T, kPageEntries> block;
    for (int d = 0; key && d < shape.key_dim; d += kPageEntries) {
      const int n = std::min(kPageEntries, shape.key_dim - d);
      cut |= from_f32(key + d, block.data(), n);
      T* out = elements<T>(page.keys, static_cast<size_t>(d) * kPageEntries + slot);
      for (int i = 0; i < n; i++) out[i * kPageEntries] = block[i];
    }
    if (value) {
      T* out = elements<T>(page.values, static_cast<size_t>(slot) * shape.value_dim);
      cut |= from_f32(value, out, shape.value_dim);
    }
  });
  return cut;
}

void load_entry(const PageShape& shape, const Page& page, int slot, float* key, float* value) {
  with_elements(shape, [&]<typename T>(T*) {
    std::array<T, kPageEntries> block;
    for (int d = 0; key && d < shape.key_dim; d += kPageEntries) {
      const int n = std::min(kPageEntries, shape.key_dim - d);
      const T* in = elements<T>(page.keys, static_cast<size_t>(d) * kPageEntries + slot);
      for (int i = 0; i < n; i++) block[i] = in[i * kPageEntries];
      to_f32(block.data(), key + d, n);
    }
    if (value) {
      to_f32(elements<T>(page.values, static_cast<size_t>(slot) * shape.value_dim), value, shape.value_dim);
    }
  });
}

}  // namespace kvedit
