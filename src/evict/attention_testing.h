// Attention by its definition, in double and with the whole matrix: what tests of scorers compare with.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "evict/evict_testing.h"

namespace kvedit {

using Matrix = std::vector<std::vector<double>>;

/// Of the last `window` captured queries of one query head over its lane.
struct SlowAttention {
  std::vector<Position> positions;  // [n]
  Matrix keys;                      // [n][key_dim]
  Matrix values;                    // [n][value_dim]
  Matrix logits;                    // [window][n], -inf where the query does not see the entry
  Matrix weights;                   // [window][n]
};

inline std::vector<double> softmax(std::vector<double> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double& x : logits) sum += x = std::exp(x - top);
  for (double& x : logits) x /= sum;
  return logits;
}

/// sum_j weights[j] * values[j]
inline std::vector<double> weighted(const std::vector<double>& weights, const Matrix& values) {
  std::vector<double> sum(values[0].size());
  for (size_t j = 0; j < values.size(); j++) {
    for (size_t i = 0; i < sum.size(); i++) sum[i] += weights[j] * values[j][i];
  }
  return sum;
}

inline double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

inline double norm(const std::vector<double>& a) {
  return std::sqrt(squared_distance(a, std::vector<double>(a.size())));
}

inline SlowAttention slow_attention(const EvictCase& c, int layer, int query_head, int window) {
  const Hparams& h = c.network.hparams();
  const Lane& lane = c.cache.lane(layer, query_head / h.group());
  SlowAttention slow;
  slow.positions = lane.positions();
  const Rows rows = read_rows(lane, c.cache.pool()->shape());
  for (int j = 0; j < lane.size(); j++) {
    slow.keys.emplace_back(&rows.keys[j * h.key_dim], &rows.keys[j * h.key_dim] + h.key_dim);
    slow.values.emplace_back(&rows.values[j * h.value_dim], &rows.values[j * h.value_dim] + h.value_dim);
  }
  const int tokens = c.captures.tokens;
  for (int t = tokens - window; t < tokens; t++) {
    const float* query =
        &c.captures.queries[layer][(static_cast<size_t>(t) * h.heads + query_head) * h.key_dim];
    std::vector<double> logits;
    for (size_t j = 0; j < slow.keys.size(); j++) {
      const Position p = slow.positions[j], at = c.window_positions[t];
      const bool seen = p <= at && (h.window_of(layer) == 0 || p > at - h.window_of(layer));
      logits.push_back(seen ? 0 : -std::numeric_limits<double>::infinity());
      for (int d = 0; d < h.key_dim; d++) logits[j] += query[d] * slow.keys[j][d];
    }
    slow.weights.push_back(softmax(logits));
    slow.logits.push_back(std::move(logits));
  }
  return slow;
}

/// Pooling of [begin, end) of a row by its definition: outside counts as zero, or not at all for a maximum.
inline std::vector<double> slow_pool(const std::vector<double>& row, int begin, int end, int kernel,
                                     bool maximum) {
  std::vector<double> pooled;
  for (int j = begin; j < end; j++) {
    double value = maximum ? row[j] : 0;
    for (int i = std::max(begin, j - kernel / 2); i < std::min(end, j + kernel / 2 + 1); i++) {
      value = maximum ? std::max(value, row[i]) : value + row[i] / kernel;
    }
    pooled.push_back(value);
  }
  return pooled;
}

/// The entries of a lane that compete under a window of the last captured queries: [begin, end).
inline std::pair<int, int> slow_competing(const EvictCase& c, int layer, int head, int window) {
  const int sliding = c.network.hparams().window_of(layer);
  int begin = 0, end = 0;
  for (Position p : c.cache.lane(layer, head).positions()) {
    begin += sliding > 0 && p <= c.cache.last_position() + 1 - sliding;
    end += p < c.window_positions[c.captures.tokens - window];
  }
  return {begin, std::max(begin, end)};
}

}  // namespace kvedit
