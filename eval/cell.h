// A cell of the grid: what is done to the cache between the context and the answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kvedit::eval {

/// What a cell does: it evicts first, then erases.
struct Cell {
  std::string policy = "full";  // nothing is evicted
  std::string keep = "100%";    // a Budget as text
  std::string method;           // empty: the task has nothing to erase; "none": it has, and that stays
  std::string adapter;          // path, for a method that needs one
  bool operator==(const Cell&) const = default;

  bool evicts() const { return policy != "full"; }
  bool erases() const { return !method.empty(); }
  /// Names the cell: "full", "snapkv@25%", "drop", "steer(eraser.gguf)", "snapkv@25%+drop".
  std::string text() const;
};

/// The reference of eviction, which does nothing.
inline const Cell kFull = {};

/// Finds the cell of this name. Throws Error(not_found) with the names there are.
const Cell& find_cell(const std::vector<Cell>& cells, std::string_view text);

}  // namespace kvedit::eval
