// Memory that attend() and attention_weights() work in.
#pragma once

#include <cstdint>

#include "compute/kernels/attention.h"
#include "compute/kernels/scratch.h"

namespace kvedit {

constexpr size_t whole_vectors(size_t n) {
  return (n + kVectorElements - 1) / kVectorElements * kVectorElements;
}

struct AttentionScratch {
  AttentionScratch(Room& room, size_t rows, int key_dim, int value_dim)
      : maxima(room.take<float>(rows)),
        sums(room.take<float>(rows)),
        wide(room.take<float>(size_t{kPageEntries} * (key_dim + value_dim) + kVectorElements)),
        queries(room.take<int16_t>(rows * key_dim)),
        query_units(room.take<float>(rows)),
        keys(room.take<int32_t>(size_t{kPageEntries} * (key_dim + 1) / 2)),
        values(room.take<int32_t>(size_t{kPageEntries} / 2 * value_dim + kVectorElements)),
        padded(room.take<float>(value_dim % kVectorElements == 0 ? 0 : rows * whole_vectors(value_dim))) {}

  float* maxima;       // [rows]
  float* sums;         // [rows]
  float* wide;         // a page's keys [key_dim][64] and values [64][value_dim]
  int16_t* queries;    // [rows][key_dim], rounded
  float* query_units;  // [rows]
  int32_t* keys;       // [key_dim / 2][64], pairs
  int32_t* values;     // [32][value_dim], pairs
  float* padded;       // [rows][value_dim in whole vectors], where that is more
};

}  // namespace kvedit
