// Writing a whole file at once.
#pragma once

#include <fstream>
#include <string>

#include "tools/text.h"

namespace kvedit {

/// Replaces the file's contents. Throws Error(io) of `where`.
inline void write_file(std::string_view where, const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes << std::flush;
  if (!file) fail(ErrorCode::io, where, "cannot write ", path);
}

}  // namespace kvedit
