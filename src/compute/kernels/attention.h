// Attention of a group of query heads over one lane, by pages, with online softmax
// (FlashAttention, arXiv 2205.14135). A query at position p reads the entries at positions <= p,
// and > p - window in sliding-window layers; no mask tensor exists. The query heads of a group
// (GQA) share one pass over the lane. Plain pointers and sizes: no ggml here.
#pragma once

#include <cstddef>
#include <span>

#include "cache/page_pool.h"
#include "kvedit/types.h"

namespace kvedit {

inline constexpr int kVectorElements = 16;  // f32 numbers of the widest vector

/// One KV head's share of a run: `tokens` queries of `group` heads each against pages of one lane.
struct AttentionTask {
  const float* queries = nullptr;  // [tokens][query_stride]: the group's heads, [group][key_dim], pre-scaled
  size_t query_stride = 0;
  std::span<const Position> positions;  // [tokens], ascending
  int group = 1;
  int key_dim = 0;
  int value_dim = 0;
  ElementType type = ElementType::f16;
  std::span<const PageRef> pages;  // of the lane, or a part of it
  int window = 0;                  // 0: none
  float* output = nullptr;         // [tokens][output_stride]: [group][value_dim]
  size_t output_stride = 0;
  int output_dim = 0;            // from one head's output to the next; 0: value_dim
  float* maxima = nullptr;       // [tokens * group] largest logit of each row, or null
  float* sums = nullptr;         // [tokens * group] sum of exp(logit - maximum), or null
  bool normalise = true;         // divide by the sum; a part of a lane leaves that to merge_parts
  bool integers = false;         // many rows on f16 entries may be multiplied in 16-bit integers
  std::byte* scratch = nullptr;  // attention_scratch_bytes(), aligned to 64; null: the thread's own
};

/// Counts the bytes that a task of `rows` rows (tokens * group) works in.
size_t attention_scratch_bytes(size_t rows, int key_dim, int value_dim);

/// Computes output = softmax(queries . keys) . values; zero where a row sees no entry. This and
/// attention_weights() throw std::bad_alloc for a task without scratch, else nothing.
void attend(const AttentionTask& task);

/// Computes the attention weights themselves, given the rows' maxima and sums from attend() over the lane:
/// weights[row * stride + entry] = weight; stride 0: weights[entry] += the sum over all rows.
void attention_weights(const AttentionTask& task, const float* maxima, const float* sums, float* weights,
                       size_t stride);

/// Returns the pages of a lane that queries at positions first..last can reach.
std::span<const PageRef> reachable(std::span<const PageRef> pages, Position first, Position last, int window);

/// One row's result over a part of a lane: unnormalised output, maximum and sum.
struct AttentionPart {
  const float* output;  // [value_dim]
  float maximum;
  float sum;
};

/// Sets output [value_dim] to the normalised combination of the parts of one row.
void merge_parts(std::span<const AttentionPart> parts, int value_dim, float* output);

/// Names the instruction set that the kernels run with on this machine, e.g. "AVX3".
const char* attention_target();

}  // namespace kvedit
