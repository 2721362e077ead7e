#include "session/diff.h"

#include <algorithm>

namespace kvedit {
namespace {

constexpr int kMostEdits = 4096;  // 64 MB of furthest points at most

// One insertion or deletion at a time, from the furthest-reaching points of each number of edits.
std::vector<Hunk> shortest(std::span<const Token> a, std::span<const Token> b) {
  const auto n = static_cast<int>(a.size());
  const auto m = static_cast<int>(b.size());
  std::vector<std::vector<int>> reached;  // [edits][(k + edits) / 2]: the furthest x on diagonal k = x - y
  const auto furthest = [&](int d, int k) { return reached[d][(k + d) / 2]; };
  int edits = 0;
  for (bool done = false; !done; edits++) {
    if (edits > kMostEdits) return {{{0, n}, {0, m}}};
    reached.emplace_back(edits + 1);
    for (int k = -edits; k <= edits; k += 2) {
      int x = 0;
      if (edits > 0) {
        const bool insert =
            k == -edits || (k != edits && furthest(edits - 1, k - 1) < furthest(edits - 1, k + 1));
        x = insert ? furthest(edits - 1, k + 1) : furthest(edits - 1, k - 1) + 1;
      }
      while (x < n && x - k < m && x - k >= 0 && a[x] == b[x - k]) x++;
      reached[edits][(k + edits) / 2] = x;
      done |= x >= n && x - k >= m;
    }
  }
  edits--;
  std::vector<Hunk> hunks;  // backwards
  int x = n, y = m;
  for (int d = edits; d > 0; d--) {
    const int k = x - y;
    const bool insert = k == -d || (k != d && furthest(d - 1, k - 1) < furthest(d - 1, k + 1));
    const int from_x = furthest(d - 1, insert ? k + 1 : k - 1);
    const int from_y = from_x - (insert ? k + 1 : k - 1);
    const Hunk step{{from_x, from_x + !insert}, {from_y, from_y + insert}};
    if (!hunks.empty() && hunks.back().before.begin == step.before.end &&
        hunks.back().after.begin == step.after.end) {
      hunks.back() = {{step.before.begin, hunks.back().before.end},
                      {step.after.begin, hunks.back().after.end}};
    } else {
      hunks.push_back(step);
    }
    x = from_x;
    y = from_y;
  }
  std::reverse(hunks.begin(), hunks.end());
  return hunks;
}

}  // namespace

std::vector<Hunk> diff(std::span<const Token> before, std::span<const Token> after) {
  const size_t least = std::min(before.size(), after.size());
  const auto head = static_cast<int>(
      std::mismatch(before.begin(), before.begin() + least, after.begin()).first - before.begin());
  const size_t rest = least - head;
  const auto tail = static_cast<int>(
      std::mismatch(before.rbegin(), before.rbegin() + rest, after.rbegin()).first - before.rbegin());
  std::vector<Hunk> hunks = shortest(before.subspan(head, before.size() - head - tail),
                                     after.subspan(head, after.size() - head - tail));
  for (Hunk& h : hunks) {
    h.before = {h.before.begin + head, h.before.end + head};
    h.after = {h.after.begin + head, h.after.end + head};
  }
  std::erase_if(hunks, [](const Hunk& h) { return h.before.size() == 0 && h.after.size() == 0; });
  return hunks;
}

}  // namespace kvedit
