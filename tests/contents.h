#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace kvedit {

/// Of a file, byte by byte.
inline std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace kvedit
