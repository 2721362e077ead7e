// The keys and values of one page in f32 rows of 64 columns, one column an entry, as scorers walk them.
#pragma once

#include <vector>

#include "cache/page_pool.h"

namespace kvedit {

class PageRows {
 public:
  explicit PageRows(const PageShape& shape) : shape_(shape) {}

  /// Return rows whose columns past the page's count are undefined, valid until the next call of the same
  /// kind.
  const float* keys(const Page& page);    // [key_dim][64]
  const float* values(const Page& page);  // [value_dim][64]
  /// Returns [64][value_dim], an entry's values a row, as the page holds them. Those past the count are
  /// undefined.
  const float* entries(const Page& page);

 private:
  PageShape shape_;
  std::vector<float> keys_;
  std::vector<float> values_;   // [value_dim][64]
  std::vector<float> entries_;  // [64][value_dim]
};

/// Sets to [64] to the squared L2 norms of the columns of rows [dim][64].
void column_squares(const float* rows, int dim, float* to);

/// Sets to [64] to the squared distances of the columns of rows [dim][64] from `vector` [dim]. Term by term:
/// in
/// ||x||^2 - 2 x.v + ||v||^2 nothing would be left of the distance to a value that dominates the output.
void column_distances(const float* rows, int dim, const float* vector, float* to);

}  // namespace kvedit
