// Random numbers that are equal on every machine, unlike those of the standard library's distributions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <utility>
#include <vector>

namespace kvedit::eval {

class Random {
 public:
  /// Only the 32 low bits of each seed count.
  explicit Random(std::initializer_list<uint64_t> seeds) {
    std::seed_seq sequence(seeds);
    engine_.seed(sequence);
  }
  /// Draws a number below n > 0. The bias, n / 2^64, cannot be seen.
  size_t below(size_t n) { return engine_() % n; }
  /// Draws from [0, 1).
  double unit() { return static_cast<double>(engine_() >> 11U) * 0x1p-53; }

  /// Draws `count` different numbers below n, in random order; all n if there are no more.
  std::vector<size_t> sample(size_t count, size_t n) {
    std::vector<size_t> all(n);
    for (size_t i = 0; i < n; i++) all[i] = i;
    for (size_t i = 0; i < std::min(count, n); i++) std::swap(all[i], all[i + below(n - i)]);
    all.resize(std::min(count, n));
    return all;
  }

  /// Returns all elements in random order.
  template <class T>
  std::vector<T> shuffled(const std::vector<T>& all) {
    std::vector<T> result;
    for (const size_t i : sample(all.size(), all.size())) result.push_back(all[i]);
    return result;
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace kvedit::eval
