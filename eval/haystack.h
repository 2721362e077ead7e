// The prose that tasks read, from plain text files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eval/random.h"

namespace kvedit::eval {

/// The licences that Debian's package base-files carries.
inline constexpr std::string_view kDefaultHaystack = "/usr/share/common-licenses";

class Haystack {
 public:
  /// Turns runs of white space into one space, or into an empty line between paragraphs, so that lines
  /// broken to fit a page are prose again.
  explicit Haystack(const std::vector<std::string>& texts);
  /// Reads a file, or a folder's files in the order of their names: those named *.txt, or all if none is.
  /// A file with two names is read once. Throws Error(not_found, io), Error(out_of_range) past 256 MiB,
  /// Error(invalid_argument) for no text.
  static Haystack load(const std::string& path);

  const std::vector<std::string>& documents() const { return documents_; }
  /// Returns the hash of the whole text.
  uint64_t hash() const { return hash_; }
  /// Returns about `bytes` of running text from a random word on; after the last document comes the first.
  std::string stretch(size_t bytes, Random& random) const;

 private:
  std::vector<std::string> documents_;
  uint64_t hash_ = 0;
};

/// Returns at most `bytes` of whole words from the first word that begins at or after byte `from`.
std::string_view words(std::string_view text, size_t from, size_t bytes);

}  // namespace kvedit::eval
