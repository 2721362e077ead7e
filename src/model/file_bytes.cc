#include "model/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/text.h"

namespace kvedit {
namespace {

constexpr size_t kCopyAlignment = 64;

}  // namespace

FileBytes::Descriptor::~Descriptor() {
  if (value >= 0) ::close(value);
}

FileBytes::FileBytes(const std::string& path, Access access)
    // O_NONBLOCK: a named pipe would make open wait for its writer.
    : path_(path), file_{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)} {
  if (file_.value < 0) {
    const int error = errno;
    const bool absent = error == ENOENT || error == ENOTDIR;
    fail(absent ? ErrorCode::not_found : ErrorCode::io, "model", "cannot open \"", path,
         "\": ", std::strerror(error));
  }
  struct stat status = {};
  if (::fstat(file_.value, &status) != 0) fail(ErrorCode::io, "model", "cannot stat \"", path, "\"");
  if (S_ISDIR(status.st_mode)) fail(ErrorCode::io, "model", "\"", path, "\" is a directory");
  if (!S_ISREG(status.st_mode)) fail(ErrorCode::io, "model", "\"", path, "\" is not a regular file");
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;

  if (access == Access::map) {
    void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file_.value, 0);
    if (map != MAP_FAILED) {
      map_ = map;
      data_ = static_cast<const std::byte*>(map);
      ::madvise(map, size_, MADV_WILLNEED);
      return;
    }
  }
  read_whole(path);
}

FileBytes::~FileBytes() {
  if (map_ != nullptr) ::munmap(map_, size_);
}

void FileBytes::check() const {
  struct stat status = {};
  if (map_ == nullptr || ::fstat(file_.value, &status) != 0) return;
  if (static_cast<size_t>(status.st_size) < size_) {
    fail(ErrorCode::io, "model", "\"", path_, "\" was cut to ", status.st_size, " of its ", size_,
         " bytes while it was in use: load it again");
  }
}

void FileBytes::read_whole(const std::string& path) {
  const size_t room = (size_ + kCopyAlignment - 1) / kCopyAlignment * kCopyAlignment;
  copy_.reset(static_cast<std::byte*>(std::aligned_alloc(kCopyAlignment, room)));
  if (!copy_) fail(ErrorCode::no_memory, "model", "no memory for the ", size_, " bytes of \"", path, "\"");
  for (size_t done = 0; done < size_;) {
    const ssize_t count = ::pread(file_.value, copy_.get() + done, size_ - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail(ErrorCode::io, "model", "\"", path, "\" ends at byte ", done, " of ", size_);
    done += static_cast<size_t>(count);
  }
  data_ = copy_.get();
}

}  // namespace kvedit
