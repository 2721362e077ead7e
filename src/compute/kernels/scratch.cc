#include "compute/kernels/scratch.h"

#include <algorithm>

namespace kvedit {

void Scratch::reserve(int threads, size_t bytes) {
  const size_t each = (bytes + sizeof(Line) - 1) / sizeof(Line);
  if (lines_ && threads <= threads_ && each <= lines_each_) return;
  threads = std::max(threads, threads_);
  const size_t lines = std::max<size_t>(std::max(each, lines_each_), 1);
  lines_.reset();  // the old one first
  lines_each_ = 0;
  threads_ = 0;
  lines_ = std::make_unique_for_overwrite<Line[]>(threads * lines);
  lines_each_ = lines;
  threads_ = threads;
}

Room own_scratch(size_t bytes) {
  thread_local Scratch own;
  own.reserve(1, bytes);
  return own.of(0);
}

}  // namespace kvedit
