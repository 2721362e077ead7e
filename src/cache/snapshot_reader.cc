#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "cache/snapshot.h"
#include "cache/snapshot_format.h"

namespace kvedit {
namespace {

using snapshot::Header;
using snapshot::TableEntry;

// Read-only; empty for an empty file, which mmap would refuse.
std::span<const std::byte> map(const std::string& path) {
  const auto fail_io = [&](int fd, const char* verb) {
    const int error = errno;
    if (fd >= 0) close(fd);
    fail(error == ENOENT ? ErrorCode::not_found : ErrorCode::io, "snapshot", "cannot ", verb, " ", path, ": ",
         std::strerror(error));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not block
  if (fd < 0) fail_io(fd, "open");
  struct stat status {};
  if (fstat(fd, &status) != 0) fail_io(fd, "look at");
  if (!S_ISREG(status.st_mode)) {
    close(fd);
    fail(ErrorCode::corrupt, "snapshot", path, " is not a regular file");
  }
  const auto bytes = static_cast<size_t>(status.st_size);
  void* memory = bytes > 0 ? mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
  if (memory == MAP_FAILED) fail_io(fd, "map");
  close(fd);
  return {static_cast<const std::byte*>(memory), bytes};
}

}  // namespace

SnapshotReader::SnapshotReader(std::span<const std::byte> bytes) : path_("the snapshot"), file_(bytes) {
  check();
}

SnapshotReader::SnapshotReader(std::string path) : path_(std::move(path)) {
  file_ = map(path_);
  mapped_ = true;
  try {
    check();
  } catch (...) {
    if (!file_.empty()) munmap(const_cast<std::byte*>(file_.data()), file_.size());
    throw;
  }
}

SnapshotReader::~SnapshotReader() {
  if (mapped_ && !file_.empty()) munmap(const_cast<std::byte*>(file_.data()), file_.size());
}

void SnapshotReader::check() {
  const auto damaged = [&](const auto&... parts) { fail(ErrorCode::corrupt, "snapshot", path_, parts...); };
  Header header{};
  const size_t known = std::min(file_.size(), sizeof(header));
  if (known > 0) std::memcpy(&header, file_.data(), known);
  if (known < header.magic.size() || header.magic != snapshot::kMagic) damaged(" is not a kvedit snapshot");
  if (known < sizeof(header)) damaged(" ends within its header, at byte ", known);
  if (header.version == 0 || header.version > kSnapshotVersion) {
    damaged(" has version ", header.version, "; this build reads versions up to ", kSnapshotVersion);
  }
  if (XXH64(&header, offsetof(Header, header_hash), 0) != header.header_hash)
    damaged(": the header is damaged");
  if (header.file_bytes != file_.size()) {
    damaged(" has ", file_.size(), " bytes, not ", header.file_bytes, ": it was cut short or added to");
  }
  // Sums that cannot overflow: each is bounded by the file's size before it is made.
  if (header.table_offset < sizeof(header) || header.table_offset > file_.size() ||
      (file_.size() - header.table_offset) != header.sections * uint64_t{sizeof(TableEntry)}) {
    damaged(": a table of ", header.sections, " sections at byte ", header.table_offset, " does not fit");
  }
  const auto table = file_.subspan(header.table_offset);
  if (XXH64(table.data(), table.size(), 0) != header.table_hash) damaged(": the section table is damaged");

  std::set<std::string> names;
  uint64_t free_from = sizeof(header);  // sections stand in the table's order and do not overlap
  for (uint32_t i = 0; i < header.sections; i++) {
    TableEntry entry;
    std::memcpy(&entry, table.data() + i * sizeof(entry), sizeof(entry));
    if (entry.name.front() == '\0' || entry.name.back() != '\0')
      damaged(": section ", i, " has no valid name");
    const std::string name(entry.name.data());
    if (entry.offset < free_from || entry.offset > header.table_offset ||
        entry.bytes > header.table_offset - entry.offset) {
      damaged(": section '", name, "' of ", entry.bytes, " bytes at byte ", entry.offset, " does not fit");
    }
    if (!names.insert(name).second) damaged(": section '", name, "' comes twice");
    const auto bytes = file_.subspan(entry.offset, entry.bytes);
    if (XXH64(bytes.data(), bytes.size(), 0) != entry.hash) damaged(": section '", name, "' is damaged");
    free_from = entry.offset + entry.bytes;
    sections_.push_back({name, bytes});
  }
}

bool SnapshotReader::has(std::string_view name) const {
  return std::any_of(sections_.begin(), sections_.end(), [&](const Section& s) { return s.name == name; });
}

std::span<const std::byte> SnapshotReader::section(std::string_view name) const {
  for (const Section& section : sections_) {
    if (section.name == name) return section.bytes;
  }
  fail(ErrorCode::corrupt, "snapshot", path_, " has no section '", name, "'");
}

}  // namespace kvedit
