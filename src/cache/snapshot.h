// A snapshot: a versioned file of named sections, each with its checksum (bytes: docs/formats.md).
//
// A file appears whole or not at all: it is written under a temporary name, synced and renamed.
// Reading trusts nothing: every offset and size is checked against the file, every section against
// its checksum, before a byte of it is handed out; what does not hold throws Error(corrupt).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/bytes.h"
#include "cache/cache.h"

namespace kvedit {

inline constexpr uint32_t kSnapshotVersion = 3;

class SnapshotWriter {
 public:
  /// Opens a temporary file beside `path`. Throws Error(io) naming path and cause, as all members do.
  explicit SnapshotWriter(std::string path);
  /// Writes into memory; take() has it in the end, instead of commit().
  SnapshotWriter();
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;
  /// Removes the temporary file unless commit() was called; a file at `path` stays as it was then.
  ~SnapshotWriter();

  /// Writes one section; names are 1..31 bytes, each used once.
  void section(std::string_view name, std::span<const std::byte> bytes);

  /// Write a section in pieces, where it is too large to hold twice: begin, add any number of times, end.
  void begin_section(std::string_view name);
  void add(std::span<const std::byte> bytes);
  void end_section();

  /// Makes the file durable and puts it at `path`.
  void commit();
  std::vector<std::byte> take();

 private:
  struct State;
  void finish();
  std::unique_ptr<State> state_;
};

class SnapshotReader {
 public:
  /// Maps the file and checks all of it. While mapped it must not be truncated in place; replacing
  /// it, as SnapshotWriter does, is safe.
  explicit SnapshotReader(std::string path);
  /// Checks a snapshot in memory, which must outlive the reader.
  explicit SnapshotReader(std::span<const std::byte> bytes);
  SnapshotReader(const SnapshotReader&) = delete;
  SnapshotReader& operator=(const SnapshotReader&) = delete;
  ~SnapshotReader();

  bool has(std::string_view name) const;
  /// Returns the section's bytes, valid while the reader lives. Throws Error(corrupt) if there is none.
  std::span<const std::byte> section(std::string_view name) const;
  /// Returns a section as a bounds-checked reader.
  ByteReader read(std::string_view name) const {
    return {section(name), "section '" + std::string(name) + "'"};
  }

 private:
  struct Section {
    std::string name;
    std::span<const std::byte> bytes;
  };
  void check();

  std::string path_;  // or what errors call it
  std::span<const std::byte> file_;
  bool mapped_ = false;
  std::vector<Section> sections_;
};

/// Writes sections "cache.layout", "cache.lanes" and, where entries were freed, "cache.held".
void save_cache(SnapshotWriter& writer, const Cache& cache);

/// Reads the cache that these sections describe: the same entries bit for bit, in packed pages. Throws
/// Error(unsupported) if page shape, layers or heads are not the model's, Error(corrupt) if the sections
/// contradict themselves, Error(no_memory) if the pool's limit would be passed.
Cache load_cache(const SnapshotReader& reader, std::shared_ptr<PagePool> pool, int layers, int kv_heads,
                 std::shared_ptr<const std::vector<Rope>> ropes);

}  // namespace kvedit
