#include "bench/temporary.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "tools/text.h"

namespace kvedit::bench {

TemporaryFile::TemporaryFile() {
  std::error_code error;
  path_ = (std::filesystem::temp_directory_path(error) / "kvedit-bench-XXXXXX").string();
  const int file = error ? -1 : mkstemp(path_.data());
  if (file < 0) fail(ErrorCode::io, "bench", "cannot make ", path_, ": ", std::strerror(errno));
  close(file);
}

TemporaryFile::~TemporaryFile() {
  std::error_code error;
  std::filesystem::remove(path_, error);
}

size_t TemporaryFile::bytes() const {
  std::error_code error;
  const auto size = std::filesystem::file_size(path_, error);
  if (error) fail(ErrorCode::io, "bench", "cannot read ", path_, ": ", error.message());
  return size;
}

}  // namespace kvedit::bench
