// The fixed parts of a snapshot file as they lie in it; docs/formats.md has the table.
#pragma once

#include <array>
#include <cstdint>

namespace kvedit::snapshot {

inline constexpr std::array<char, 8> kMagic = {'K', 'V', 'E', 'D', 'S', 'N', 'A', 'P'};
inline constexpr uint64_t kAlignment = 64;  // of a section's first byte
inline constexpr size_t kNameBytes = 32;

struct Header {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t sections;
  uint64_t table_offset;
  uint64_t file_bytes;
  uint64_t table_hash;   // xxHash64, seed 0, of the table
  uint64_t header_hash;  // of the header's bytes before this
};
static_assert(sizeof(Header) == 48);

struct TableEntry {
  std::array<char, kNameBytes> name;  // padded with zeros, at least one
  uint64_t offset;
  uint64_t bytes;
  uint64_t hash;
};
static_assert(sizeof(TableEntry) == 56);

}  // namespace kvedit::snapshot
