// Memory that the operators of a graph work in. It is made before the graph runs, since in a callback of ggml
// nothing may fail: an exception there ends the process.
#pragma once

#include <cstddef>
#include <memory>

namespace kvedit {

/// Lays arrays one behind the other, each aligned as registers are. At no memory it only counts.
class Room {
 public:
  explicit Room(std::byte* at = nullptr) : begin_(at) {}

  template <class T>
  T* take(size_t n) {
    T* const array = begin_ ? reinterpret_cast<T*>(begin_ + bytes_) : nullptr;
    bytes_ += (n * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return array;
  }
  size_t bytes() const { return bytes_; }  // taken so far

  static constexpr size_t kAlignment = 64;

 private:
  std::byte* begin_;
  size_t bytes_ = 0;
};

/// A piece of memory for each thread.
class Scratch {
 public:
  /// Makes it at least `bytes` for each thread; contents are lost where it grows. Throws std::bad_alloc.
  void reserve(int threads, size_t bytes);
  Room of(int thread) const {
    return Room(reinterpret_cast<std::byte*>(lines_.get()) + thread * lines_each_ * sizeof(Line));
  }

 private:
  struct alignas(Room::kAlignment) Line {
    std::byte bytes[Room::kAlignment];
  };
  std::unique_ptr<Line[]> lines_;  // [thread][lines_each_]
  size_t lines_each_ = 0;
  int threads_ = 0;
};

/// Returns the calling thread's own, for calls that come from no graph. Throws std::bad_alloc.
Room own_scratch(size_t bytes);

}  // namespace kvedit
