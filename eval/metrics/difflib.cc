// Python's difflib.SequenceMatcher (Ratcliff and Obershelp, "gestalt pattern matching"), with its heuristic
// for long texts: of 200 characters or more, those that make up over 1 % of them begin no match.
#include <cmath>
#include <unordered_map>

#include "eval/metrics/similarity.h"

namespace kvedit::eval {
namespace {

constexpr size_t kLong = 200;

struct Block {
  size_t a, b, size;
};

class Matcher {
 public:
  Matcher(std::u32string_view a, std::u32string_view b) : a_(a), b_(b) {
    for (size_t j = 0; j < b.size(); j++) places_[b[j]].push_back(j);
    const size_t popular = b.size() / 100 + 1;
    if (b.size() >= kLong)
      std::erase_if(places_, [&](const auto& item) { return item.second.size() > popular; });
  }

  // Characters in matching blocks: the longest one, then those on both of its sides.
  size_t matches() const {
    size_t sum = 0;
    std::vector<std::pair<Block, Block>> ranges = {{{0, 0, 0}, {a_.size(), b_.size(), 0}}};
    while (!ranges.empty()) {
      const auto [from, to] = ranges.back();
      ranges.pop_back();
      const Block block = longest(from, to);
      if (block.size == 0) continue;
      sum += block.size;
      if (from.a < block.a && from.b < block.b) ranges.emplace_back(from, block);
      const Block after = {block.a + block.size, block.b + block.size, 0};
      if (after.a < to.a && after.b < to.b) ranges.emplace_back(after, to);
    }
    return sum;
  }

 private:
  Block longest(const Block& from, const Block& to) const {
    Block best = {from.a, from.b, 0};
    std::unordered_map<size_t, size_t> lengths;  // of the match that ends at this place of b
    for (size_t i = from.a; i < to.a; i++) {
      std::unordered_map<size_t, size_t> next;
      const auto found = places_.find(a_[i]);
      if (found != places_.end()) {
        for (const size_t j : found->second) {
          if (j < from.b) continue;
          if (j >= to.b) break;
          const auto before = j > 0 ? lengths.find(j - 1) : lengths.end();
          const size_t size = next[j] = (before == lengths.end() ? 0 : before->second) + 1;
          if (size > best.size) best = {i - size + 1, j - size + 1, size};
        }
      }
      lengths = std::move(next);
    }
    while (best.a > from.a && best.b > from.b && a_[best.a - 1] == b_[best.b - 1])
      best = {best.a - 1, best.b - 1, best.size + 1};
    while (best.a + best.size < to.a && best.b + best.size < to.b &&
           a_[best.a + best.size] == b_[best.b + best.size])
      best.size++;
    return best;
  }

  std::u32string_view a_, b_;
  std::unordered_map<char32_t, std::vector<size_t>> places_;  // in b, ascending
};

}  // namespace

double sequence_ratio(std::u32string_view a, std::u32string_view b) {
  const size_t length = a.size() + b.size();
  if (length == 0) return 1;
  return 2.0 * static_cast<double>(Matcher(a, b).matches()) / static_cast<double>(length);
}

int fuzz_ratio(std::u32string_view a, std::u32string_view b) {
  if (a == b) return 100;
  if (a.empty() || b.empty()) return 0;
  return static_cast<int>(std::nearbyint(100 * sequence_ratio(a, b)));  // half to even, as Python rounds
}

}  // namespace kvedit::eval
