// Records of a pass for scorers: asked for before it, filled by it.
#pragma once

#include <cstddef>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

/// A choice of what a pass records.
struct CaptureRequest {
  int window_queries = 0;  // queries of the run's last tokens
  // Over all queries of the run, which costs a second pass over a context.
  bool attention_mass = false;
  bool query_statistics = false;
  Position first_counted = 0;  // the statistics leave out tokens before it
  bool similarity = false;     // of the hidden states around attention, over the window

  /// Asks for both. Statistics from two first positions do not go into one pass: the later one is recorded,
  /// and answers() tells the other that it is not served.
  CaptureRequest operator|(const CaptureRequest& other) const;
  bool operator==(const CaptureRequest&) const = default;
  bool all_queries() const { return attention_mass || query_statistics; }
  /// Tells whether a pass that recorded this serves `other` as well.
  bool answers(const CaptureRequest& other) const;
};

/// The record of a pass.
struct Captures {
  int tokens = 0;  // of the window, really seen: min(window_queries, run)
  // [layer], each [tokens][heads][key_dim], after RoPE, times attention_scale
  std::vector<std::vector<float>> queries;
  std::vector<float> similarities;  // [layer][tokens] cosine of the hidden state before and after attention
  std::vector<std::vector<float>> mass;  // [layer * kv_heads + head][entries]: sum over the run's queries
                                         // and the group's heads of the attention weights
  // Over the queries before RoPE and without attention_scale, after the norm of heads. Moments are about the
  // mean, so that floats hold a covariance that is small beside it.
  int counted = 0;                                // tokens
  std::vector<std::vector<double>> query_means;   // [layer], each [heads][key_dim]
  std::vector<std::vector<float>> query_moments;  // [layer], each [heads][triangle(key_dim)]: the sum of
                                                  // (q - mean) (q - mean)^T, columns <= row, packed

  /// Frees what has served: queries, statistics and mass of one layer.
  void free_layer(int layer, int kv_heads);
};

/// Elements of the lower triangle of a matrix [n][n].
constexpr size_t triangle(size_t n) { return n * (n + 1) / 2; }

}  // namespace kvedit
