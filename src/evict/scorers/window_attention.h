// The attention of the last queries of a context over one lane, for scorers that look at it.
#pragma once

#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include "compute/kernels/attention.h"
#include "evict/policy.h"

namespace kvedit {

/// Softmax over all entries each query sees, so it is of the lane as it stands, by pages: the weights
/// of a whole lane, [rows][entries], would outgrow the cache itself.
class WindowAttention {
 public:
  /// Looks by the last `window` captured queries, or all when fewer were captured. Throws
  /// Error(invalid_argument) when none were, or when captures and positions do not fit.
  WindowAttention(const LayerView& view, int head, int window);

  int tokens() const { return static_cast<int>(task_.positions.size()); }
  int group() const { return task_.group; }
  Position first_position() const { return task_.positions.front(); }
  std::span<const PageRef> pages() const { return task_.pages; }  // those that a query sees
  int first_entry() const { return first_entry_; }                // of these, in the lane
  /// Returns attention's output, [tokens * group][value_dim].
  std::span<const float> outputs() const { return outputs_; }
  /// Returns the logarithm of the sum of exp(logit) of a row: a weight is exp(logit - log_sum).
  float log_sum(int row) const { return maxima_[row] + std::log(sums_[row]); }

  /// Calls use(first, count, weights) for each of pages() in order: `first` its first entry in the lane,
  /// weights [tokens * group][64], the columns past the page's count undefined.
  using Use = std::function<void(int first, int count, std::span<const float> weights)>;
  void for_pages(const Use& use) const;

 private:
  AttentionTask task_;
  int first_entry_ = 0;
  std::vector<float> outputs_;
  std::vector<float> maxima_;  // [tokens * group]
  std::vector<float> sums_;    // [tokens * group]
};

}  // namespace kvedit
