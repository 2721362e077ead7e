// Looking into a cache: which entries a lane holds, and how each token of the text stands in it.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

/// Up to 64 entries of a lane, in the order of their positions.
struct PageView {
  std::vector<Position> positions;  // [entries], ascending
  std::vector<float> keys;          // [entries][key_dim], turned to their positions
  std::vector<float> values;        // [entries][value_dim]
};

/// The cache as it was when the view was made. It shares the session's pages and pins them: what the session
/// does meanwhile does not show, and nothing dangles. Copies are cheap. Thread-safe.
class CacheView {
 public:
  int layers() const;
  int kv_heads() const;
  int key_dim() const;
  int value_dim() const;
  /// All that take a layer and a head throw Error(out_of_range) for ones that there are not.
  size_t entries(int layer, int head) const;
  std::vector<Position> positions(int layer, int head) const;
  size_t pages(int layer, int head) const;
  /// Copies a page, converted. Throws Error(out_of_range) for an index past pages().
  PageView page(int layer, int head, size_t index) const;

 private:
  friend class Session;
  struct State;
  explicit CacheView(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

/// How a token stands in the cache.
struct TokenState {
  Position position = 0;
  bool exact = false;    // of the beginning that has the entries of a fresh prefill
  bool pending = false;  // the last token, which has no entries yet
  float share = 0;       // of the lanes, which hold its entry
};

}  // namespace kvedit
