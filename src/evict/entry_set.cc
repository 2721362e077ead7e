#include "evict/entry_set.h"

#include <algorithm>
#include <bit>

namespace kvedit {
namespace {

constexpr int kBits = 64;

}  // namespace

EntrySet::EntrySet(int begin, int end) {
  if (begin >= end) return;
  words_.resize((end + kBits - 1) / kBits);
  for (int entry = begin; entry < end; entry++) add(entry);
}

void EntrySet::add(int entry) { words_[entry / kBits] |= uint64_t{1} << (entry % kBits); }

int EntrySet::size() const {
  int sum = 0;
  for (const uint64_t word : words_) sum += std::popcount(word);
  return sum;
}

std::vector<int> EntrySet::list() const {
  std::vector<int> all;
  all.reserve(size());
  for (size_t i = 0; i < words_.size(); i++) {
    for (uint64_t word = words_[i]; word != 0; word &= word - 1) {
      all.push_back(static_cast<int>(i) * kBits + std::countr_zero(word));
    }
  }
  return all;
}

EntrySet EntrySet::at(std::span<const int> ranks) const {
  const std::vector<int> all = list();
  EntrySet chosen;
  chosen.words_.resize(words_.size());
  for (const int rank : ranks) chosen.add(all[rank]);
  return chosen;
}

EntrySet& EntrySet::operator|=(const EntrySet& other) {
  words_.resize(std::max(words_.size(), other.words_.size()));
  for (size_t i = 0; i < other.words_.size(); i++) words_[i] |= other.words_[i];
  return *this;
}

EntrySet& EntrySet::operator-=(const EntrySet& other) {
  const size_t both = std::min(words_.size(), other.words_.size());
  for (size_t i = 0; i < both; i++) words_[i] &= ~other.words_[i];
  return *this;
}

}  // namespace kvedit
