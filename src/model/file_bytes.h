// The bytes of a file, mapped read-only, or read whole where the file system cannot map.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

namespace kvedit {

class FileBytes {
 public:
  enum class Access { map, read };
  /// Throws Error(not_found) where there is no such file, Error(io) for what cannot be read.
  /// A file that another process cuts while it is mapped raises SIGBUS where it is read: see check().
  explicit FileBytes(const std::string& path, Access access = Access::map);
  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }  // starts aligned to 64
  /// Throws Error(io) if the file has been cut since. What is cut after the call still ends the process:
  /// replace models by rename, don't rewrite them.
  void check() const;

 private:
  struct Descriptor {
    int value = -1;
    ~Descriptor();
  };
  void read_whole(const std::string& path);

  std::string path_;
  Descriptor file_;  // open while the bytes are mapped
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  void* map_ = nullptr;
  std::unique_ptr<std::byte, decltype(&std::free)> copy_{nullptr, &std::free};
};

}  // namespace kvedit
