// A temporary file.
#pragma once

#include <string>

namespace kvedit::bench {

/// An empty file in the system's temporary folder, removed with this object.
class TemporaryFile {
 public:
  /// Throws Error(io).
  TemporaryFile();
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }
  size_t bytes() const;

 private:
  std::string path_;
};

}  // namespace kvedit::bench
