#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "cache/snapshot.h"
#include "cache/snapshot_format.h"

namespace kvedit {
namespace {

using snapshot::Header;
using snapshot::TableEntry;
namespace fs = std::filesystem;

struct HashDeleter {
  void operator()(XXH64_state_t* state) const { XXH64_freeState(state); }
};

[[noreturn]] void fail_io(std::string_view verb, const std::string& path) {
  fail(ErrorCode::io, "snapshot", "cannot ", verb, " ", path, ": ", std::strerror(errno));
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

void sync_folder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail_io("open", folder);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  errno = error;
  // Some file systems cannot sync a folder; they say so with EINVAL.
  if (result != 0 && error != EINVAL) fail_io("sync", folder);
}

constexpr std::string_view kPartial = ".partial-XXXXXX";

// What writers of `path` that were killed have left beside it. One that is alive holds a lock on its file.
void remove_abandoned(const std::string& path) {
  const std::string name =
      fs::path(path).filename().string() + std::string(kPartial.substr(0, kPartial.find('X')));
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(path), none)) {
    const std::string other = entry.path().filename().string();
    if (!other.starts_with(name) || other.size() != name.size() + 6 || !entry.is_regular_file(none)) continue;
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(entry.path().c_str());
    close(fd);
  }
}

}  // namespace

struct SnapshotWriter::State {
  std::string path;
  mode_t mode = 0600;     // of the file that is replaced, if there is one
  std::string temporary;  // empty: no file to remove
  int fd = -1;
  bool in_memory = false;
  std::vector<std::byte> memory;
  uint64_t at = sizeof(Header);  // where the next byte goes
  std::vector<TableEntry> table;
  std::unique_ptr<XXH64_state_t, HashDeleter> hash{XXH64_createState()};
  bool in_section = false;

  ~State() {
    if (fd >= 0) close(fd);
    if (!temporary.empty()) unlink(temporary.c_str());
  }

  void put(const void* data, size_t bytes, uint64_t offset) {
    const auto* from = static_cast<const char*>(data);
    if (in_memory) {
      memory.resize(std::max<size_t>(memory.size(), offset + bytes));
      std::memcpy(memory.data() + offset, data, bytes);
      return;
    }
    while (bytes > 0) {
      const ssize_t done = pwrite(fd, from, bytes, static_cast<off_t>(offset));
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) fail_io("write", temporary);
      from += done;
      offset += done;
      bytes -= done;
    }
  }
};

SnapshotWriter::SnapshotWriter(std::string path) : state_(std::make_unique<State>()) {
  // A link stays one; what it names is replaced.
  std::error_code none;
  state_->path = fs::is_symlink(path, none) ? fs::weakly_canonical(path, none).string() : std::move(path);
  struct stat there {};
  if (stat(state_->path.c_str(), &there) == 0) state_->mode = there.st_mode & 07777;
  remove_abandoned(state_->path);
  std::string temporary = state_->path + std::string(kPartial);
  state_->fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (state_->fd < 0) fail_io("create a file beside", state_->path);
  state_->temporary = std::move(temporary);
  flock(state_->fd, LOCK_EX | LOCK_NB);  // held while this process lives: others leave the file alone
  if (fchmod(state_->fd, state_->mode) != 0) fail_io("set the mode of", state_->temporary);
}

SnapshotWriter::SnapshotWriter() : state_(std::make_unique<State>()) { state_->in_memory = true; }

SnapshotWriter::~SnapshotWriter() = default;

void SnapshotWriter::section(std::string_view name, std::span<const std::byte> bytes) {
  begin_section(name);
  add(bytes);
  end_section();
}

void SnapshotWriter::begin_section(std::string_view name) {
  TableEntry entry{};
  if (state_->in_section)
    fail(ErrorCode::invalid_argument, "snapshot", "section ", name, " begins inside another");
  if (name.empty() || name.size() >= entry.name.size() || name.find('\0') != std::string_view::npos) {
    fail(ErrorCode::invalid_argument, "snapshot", "section name of ", name.size(),
         " bytes; 1..31 are allowed");
  }
  std::copy(name.begin(), name.end(), entry.name.begin());
  for (const TableEntry& other : state_->table) {
    if (other.name == entry.name)
      fail(ErrorCode::invalid_argument, "snapshot", "section ", name, " comes twice");
  }
  const uint64_t step = snapshot::kAlignment;
  state_->at = (state_->at + step - 1) / step * step;  // the gap reads as zeros
  entry.offset = state_->at;
  state_->table.push_back(entry);
  state_->in_section = true;
  XXH64_reset(state_->hash.get(), 0);
}

void SnapshotWriter::add(std::span<const std::byte> bytes) {
  if (!state_->in_section) fail(ErrorCode::invalid_argument, "snapshot", "bytes outside a section");
  if (bytes.empty()) return;
  state_->put(bytes.data(), bytes.size(), state_->at);
  XXH64_update(state_->hash.get(), bytes.data(), bytes.size());
  state_->at += bytes.size();
  state_->table.back().bytes += bytes.size();
}

void SnapshotWriter::end_section() {
  if (!state_->in_section) fail(ErrorCode::invalid_argument, "snapshot", "no section to end");
  state_->table.back().hash = XXH64_digest(state_->hash.get());
  state_->in_section = false;
}

// The table and the header, which make it whole.
void SnapshotWriter::finish() {
  State& state = *state_;
  if (state.in_section) fail(ErrorCode::invalid_argument, "snapshot", "the end inside a section");
  const size_t table_bytes = state.table.size() * sizeof(TableEntry);
  Header header{};
  header.magic = snapshot::kMagic;
  header.version = kSnapshotVersion;
  header.sections = static_cast<uint32_t>(state.table.size());
  header.table_offset = state.at;
  header.file_bytes = state.at + table_bytes;
  header.table_hash = XXH64(state.table.data(), table_bytes, 0);
  header.header_hash = XXH64(&header, offsetof(Header, header_hash), 0);
  state.put(state.table.data(), table_bytes, state.at);
  state.put(&header, sizeof(header), 0);
}

std::vector<std::byte> SnapshotWriter::take() {
  finish();
  return std::move(state_->memory);
}

void SnapshotWriter::commit() {
  State& state = *state_;
  if (state.temporary.empty())
    fail(ErrorCode::invalid_argument, "snapshot", state.path, " is committed already");
  struct stat there {};
  if (stat(state.path.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
    fail(ErrorCode::io, "snapshot", state.path, " is not a regular file; it would be replaced by one");
  }
  finish();
  if (fsync(state.fd) != 0) fail_io("sync", state.temporary);
  if (close(std::exchange(state.fd, -1)) != 0) fail_io("close", state.temporary);
  if (rename(state.temporary.c_str(), state.path.c_str()) != 0) fail_io("rename a file to", state.path);
  state.temporary.clear();
  // The file is there, whole; a folder that cannot be synced only may lose its name in a crash.
  try {
    sync_folder(folder_of(state.path));
  } catch (const Error& error) {
    log(kLogWarning, error.what());
  }
}

}  // namespace kvedit
