// A set of entries of one lane, a bit each: as lists they would take what the scores take.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace kvedit {

class EntrySet {
 public:
  EntrySet() = default;
  EntrySet(int begin, int end);  // [begin, end)

  int size() const;
  bool empty() const { return size() == 0; }
  std::vector<int> list() const;  // ascending
  /// Returns the members at these ranks, 0 the lowest; ranks below size().
  EntrySet at(std::span<const int> ranks) const;
  EntrySet& operator|=(const EntrySet& other);
  EntrySet& operator-=(const EntrySet& other);

 private:
  void add(int entry);
  std::vector<uint64_t> words_;
};

}  // namespace kvedit
