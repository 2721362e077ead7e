// The header of a safetensors file:
//   {"__metadata__": {text: text}, name: {"dtype": text, "shape": [n, ...], "data_offsets": [begin, end]},
//   ...}
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvedit {

struct SafetensorsRow {
  std::string name;
  std::string type;
  std::vector<int64_t> shape;
  std::vector<int64_t> offsets;  // two, from the end of the header
};

/// Reads rows in the order of the text, numbers as they stand, in one pass that keeps no tree, so its memory
/// is bounded by a few times the text. Throws Error(corrupt) naming `path` for anything but the form above,
/// and for a key that stands twice.
std::vector<SafetensorsRow> parse_safetensors_header(std::string_view text, const std::string& path);

}  // namespace kvedit
