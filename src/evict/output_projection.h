// The output projection as scorers see it that weigh an entry by what its value adds to the residual
// stream: v W_h, W_h the slice of the projection of query head h, with the weight of a post-attention
// norm folded in where there is one. (That norm's division by the RMS of a whole row is left out.)
#pragma once

#include <deque>
#include <mutex>
#include <span>
#include <vector>

#include "cache/page_pool.h"
#include "evict/page_rows.h"
#include "model/network.h"

namespace kvedit {

/// [d_model][heads * value_dim] f32 of a layer.
std::vector<float> output_projection(const Network& network, int layer);

/// Grams of the slices: with them |v W_h|^2 = v (W_h W_h^T) v^T costs value_dim^2, not d_model * value_dim.
/// A layer's are made at its first use. Thread-safe.
class OutputGrams {
 public:
  /// The network's, which keeps them.
  static const OutputGrams& of(const Network& network);
  explicit OutputGrams(const Network& network);

  /// [heads][value_dim][value_dim]: W_h W_h^T.
  std::span<const float> heads(int layer) const;
  /// [kv_heads][pairs][value_dim][value_dim]: W_h W_h'^T of the pairs h <= h' of a group, in the order
  /// (0, 0), (0, 1), ... (1, 1), ...
  std::span<const float> pairs(int layer) const;

 private:
  struct Layer {
    std::once_flag heads_made, pairs_made;
    std::vector<float> heads, pairs;
  };
  const Network& network_;
  mutable std::deque<Layer> layers_;
};

/// M [rows][columns] times 64 vectors at once; the shape is fixed when it is made.
class TimesColumns {
 public:
  /// Throws Error(no_memory).
  TimesColumns(int rows, int columns);
  /// M . X^T, [rows][64], of X [64][columns]. Valid until the next call. Throws Error(no_memory).
  const float* operator()(const float* matrix, const float* x);

 private:
  const class Gemm& gemm_;
  std::vector<float> product_;
};

/// forms [count][size]: v_j G v_j^T of each Gram G [value_dim][value_dim] for the entries j of a lane.
std::vector<float> quadratic_forms(std::span<const PageRef> pages, const PageShape& shape,
                                   std::span<const float> grams, int size);

}  // namespace kvedit
