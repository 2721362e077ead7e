#include "evict/highest.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace kvedit {
namespace {

// Numbers in the order of the scores; -0 is 0.
uint32_t key(float score) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0F);
  return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

// The key of the rank-th highest score, 1 <= rank <= all scores: histograms of some bits at a time, from the
// top, so that nothing is copied.
uint32_t key_at(std::span<const std::span<const float>> lanes, size_t rank) {
  uint64_t found = 0;  // the key's bits above `shift`
  int shift = 32;
  for (const int bits : {11, 11, 10}) {
    std::vector<size_t> histogram(size_t{1} << bits);
    const uint64_t mask = histogram.size() - 1;
    for (const auto& lane : lanes) {
      for (const float score : lane) {
        const uint64_t k = key(score);
        if (k >> shift == found) histogram[(k >> (shift - bits)) & mask]++;
      }
    }
    uint64_t digit = mask;
    for (; histogram[digit] < rank; digit--) rank -= histogram[digit];
    found = found << bits | digit;
    shift -= bits;
  }
  return static_cast<uint32_t>(found);
}

}  // namespace

std::vector<int> highest(std::span<const float> scores, size_t count) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::nth_element(order.begin(), order.begin() + static_cast<ptrdiff_t>(count), order.end(),
                   [&](int a, int b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<int64_t> count_highest(std::span<const std::span<const float>> lanes, size_t budget) {
  std::vector<int64_t> counts(lanes.size());
  if (budget == 0) return counts;
  const uint32_t threshold = key_at(lanes, budget);
  std::vector<int64_t> ties(lanes.size());
  for (size_t g = 0; g < lanes.size(); g++) {
    for (const float score : lanes[g]) {
      const uint32_t k = key(score);
      counts[g] += k > threshold;
      ties[g] += k == threshold;
    }
  }
  int64_t left = static_cast<int64_t>(budget) - std::accumulate(counts.begin(), counts.end(), int64_t{0});
  for (size_t g = 0; g < lanes.size(); g++) {
    const int64_t taken = std::min(left, ties[g]);
    counts[g] += taken;
    left -= taken;
  }
  return counts;
}

std::vector<int64_t> count_highest(std::span<const Candidates> lanes, size_t budget) {
  std::vector<std::span<const float>> scores;
  for (const Candidates& lane : lanes) scores.emplace_back(lane.scores);
  return count_highest(scores, budget);
}

}  // namespace kvedit
