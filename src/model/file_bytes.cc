#include "model/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace kvedit {
namespace {

constexpr size_t kCopyAlignment = 64;

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

}  // namespace

FileBytes::FileBytes(const std::string& path, Access access) {
  // O_NONBLOCK: a named pipe would make open wait for its writer.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.value < 0) {
    const int error = errno;
    const bool absent = error == ENOENT || error == ENOTDIR;
    fail(absent ? ErrorCode::not_found : ErrorCode::io, "model", "cannot open \"", path,
         "\": ", std::strerror(error));
  }
  struct stat status = {};
  if (::fstat(file.value, &status) != 0) fail(ErrorCode::io, "model", "cannot stat \"", path, "\"");
  if (S_ISDIR(status.st_mode)) fail(ErrorCode::io, "model", "\"", path, "\" is a directory");
  if (!S_ISREG(status.st_mode)) fail(ErrorCode::io, "model", "\"", path, "\" is not a regular file");
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;

  if (access == Access::map) {
    void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value, 0);
    if (map != MAP_FAILED) {
      map_ = map;
      data_ = static_cast<const std::byte*>(map);
      ::madvise(map, size_, MADV_WILLNEED);
      return;
    }
  }
  read_whole(file.value, path);
}

FileBytes::~FileBytes() {
  if (map_ != nullptr) ::munmap(map_, size_);
}

void FileBytes::read_whole(int descriptor, const std::string& path) {
  const size_t room = (size_ + kCopyAlignment - 1) / kCopyAlignment * kCopyAlignment;
  copy_.reset(static_cast<std::byte*>(std::aligned_alloc(kCopyAlignment, room)));
  if (!copy_) fail(ErrorCode::no_memory, "model", "no memory for the ", size_, " bytes of \"", path, "\"");
  for (size_t done = 0; done < size_;) {
    const ssize_t count = ::pread(descriptor, copy_.get() + done, size_ - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail(ErrorCode::io, "model", "\"", path, "\" ends at byte ", done, " of ", size_);
    done += static_cast<size_t>(count);
  }
  data_ = copy_.get();
}

}  // namespace kvedit
