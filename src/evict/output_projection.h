// The output projection as scorers see it that weigh an entry by what its value adds to the residual
// stream: v W_h, W_h the slice of the projection of query head h, with the weight of a post-attention
// norm folded in where there is one. (That norm's division by the RMS of a whole row is left out.)
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "cache/page_pool.h"
#include "evict/scorers/page_rows.h"
#include "model/network.h"

namespace kvedit {

/// The rows of a layer's projection [d_model][heads * value_dim] in f32, in parts: the whole would be a good
/// share of a cache.
class OutputRows {
 public:
  OutputRows(const Network& network, int layer);
  /// Returns columns [begin, end) of row i, valid until the next call.
  const float* row(int i, int begin, int end);

 private:
  const LayerWeights& weights_;
  std::vector<float> row_;
};

/// Two query heads of a group, counted within it.
using HeadPairs = std::vector<std::pair<int, int>>;

/// Returns [pairs][value_dim][value_dim], the Grams W_a W_b^T of heads of a KV head's group. With them
/// v W_a W_b^T v^T costs value_dim^2, not d_model * value_dim. Throws Error(no_memory).
std::vector<float> output_grams(const Network& network, int layer, int kv_head, const HeadPairs& pairs);

/// M [rows][columns] times 64 vectors at once; the shape is fixed when it is made.
class TimesColumns {
 public:
  /// Throws Error(no_memory).
  TimesColumns(int rows, int columns);
  /// Returns M . X^T, [rows][64], of X [64][columns], valid until the next call. Throws Error(no_memory).
  const float* operator()(const float* matrix, const float* x);

 private:
  std::shared_ptr<const class Gemm> gemm_;
  std::vector<float> product_;
};

/// v_j G v_j^T of Grams G [count][value_dim][value_dim] for the entries j of a page.
class QuadraticForms {
 public:
  QuadraticForms(std::vector<float> grams, const PageShape& shape);
  /// Returns [count][64]. Columns past the page's count are undefined. Valid until the next call.
  const float* of(const Page& page);

 private:
  std::vector<float> grams_;
  size_t dim_, count_;
  PageRows rows_;
  TimesColumns times_;
  std::vector<float> forms_;
};

}  // namespace kvedit
