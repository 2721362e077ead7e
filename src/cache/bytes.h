// Little-endian bytes of a section: a writer, and a reader that never passes the end.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tools/text.h"

namespace kvedit {

static_assert(std::endian::native == std::endian::little, "snapshots are written as memory lies");

class ByteWriter {
 public:
  /// Adds an integer or floating-point number of any width.
  template <typename T>
  void put(T value) {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    put_bytes(std::as_bytes(std::span(&value, 1)));
  }
  /// Adds a u32 length, then the characters.
  void put_string(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    put_bytes(std::as_bytes(std::span(text.data(), text.size())));
  }
  void put_bytes(std::span<const std::byte> bytes) {
    const size_t at = bytes_.size();
    bytes_.resize(at + bytes.size());
    if (!bytes.empty()) std::memcpy(bytes_.data() + at, bytes.data(), bytes.size());
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  void clear() { bytes_.clear(); }

 private:
  std::vector<std::byte> bytes_;
};

/// Reads what ByteWriter wrote; the bytes must outlive it. Every get throws Error(corrupt), naming
/// `what`, when fewer bytes are left than it needs, before anything is allocated.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string what) : bytes_(bytes), what_(std::move(what)) {}

  template <typename T>
  T get() {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    T value;
    std::memcpy(&value, get_bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string get_string() {
    const auto text = get_bytes(get<uint32_t>());
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }
  /// Copies n elements of T out: the bytes need not be aligned.
  template <typename T>
  std::vector<T> get_array(uint64_t n) {
    if (n > left() / sizeof(T)) short_of(n);
    std::vector<T> values(n);
    const auto bytes = get_bytes(n * sizeof(T));
    if (n > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  std::span<const std::byte> get_bytes(uint64_t n) {
    if (n > left()) short_of(n);
    const auto bytes = bytes_.subspan(at_, n);
    at_ += n;
    return bytes;
  }

  uint64_t left() const { return bytes_.size() - at_; }
  /// Throws Error(corrupt) unless everything has been read.
  void expect_end() const {
    if (left() > 0) fail(ErrorCode::corrupt, "snapshot", what_, " has ", left(), " bytes too many");
  }

 private:
  [[noreturn]] void short_of(uint64_t n) const {
    fail(ErrorCode::corrupt, "snapshot", what_, " asks for ", n, " elements at byte ", at_, " of ",
         bytes_.size());
  }

  std::span<const std::byte> bytes_;
  std::string what_;
  uint64_t at_ = 0;
};

}  // namespace kvedit
