#include "eval/cell.h"

#include <filesystem>

#include "tools/text.h"

namespace kvedit::eval {

std::string Cell::text() const {
  const std::string evicted = evicts() ? policy + "@" + keep : "";
  if (!erases()) return evicted.empty() ? policy : evicted;
  std::string erased = method;
  if (!adapter.empty()) erased += "(" + std::filesystem::path(adapter).filename().string() + ")";
  return evicted.empty() ? erased : evicted + "+" + erased;
}

const Cell& find_cell(const std::vector<Cell>& cells, std::string_view text) {
  for (const Cell& cell : cells) {
    if (cell.text() == text) return cell;
  }
  fail(ErrorCode::not_found, "eval", "no cell '", text, "' in the grid; there are ",
       join(cells, &Cell::text));
}

}  // namespace kvedit::eval
