// A cell of the grid: what is done to the cache between the context and the answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kvedit::eval {

/// Evicted first, then erased.
struct Cell {
  std::string policy = "full";  // nothing is evicted
  std::string keep = "100%";    // a Budget as text
  std::string method;           // empty: nothing is to be erased; "none": something is, and stays
  std::string adapter;          // path, for a method that needs one
  bool operator==(const Cell&) const = default;

  bool evicts() const { return policy != "full"; }
  bool erases() const { return !method.empty(); }
  /// "full", "snapkv@25%", "drop", "steer(eraser.gguf)", "snapkv@25%+drop"
  std::string text() const;
};

/// The reference of eviction: nothing is done.
inline const Cell kFull = {};

/// The cell of this text. Throws Error(not_found) naming those there are.
const Cell& find_cell(const std::vector<Cell>& cells, std::string_view text);

}  // namespace kvedit::eval
