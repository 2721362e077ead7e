#include "evict/keep_entries.h"

#include <algorithm>
#include <utility>

#include "tools/stopwatch.h"
#include "tools/text.h"

namespace kvedit {
namespace {

void check(const Cache& cache, const std::vector<std::vector<int>>& kept) {
  const size_t lanes = static_cast<size_t>(cache.layers()) * cache.kv_heads();
  if (kept.size() != lanes) {
    fail(ErrorCode::invalid_argument, "evict", kept.size(), " lists of kept entries for ", lanes, " lanes");
  }
  for (size_t i = 0; i < lanes; i++) {
    const int layer = static_cast<int>(i) / cache.kv_heads(), head = static_cast<int>(i) % cache.kv_heads();
    const int size = cache.lane(layer, head).size();
    int previous = -1;
    for (int entry : kept[i]) {
      if (entry < 0 || entry >= size) {
        fail(ErrorCode::out_of_range, "evict", "kept entry ", entry, " of layer ", layer, ", head ", head,
             " is not in the lane of ", size);
      }
      if (entry <= previous) {
        fail(ErrorCode::invalid_argument, "evict", "kept entry ", entry, " of layer ", layer, ", head ", head,
             " does not ascend: it comes after ", previous);
      }
      previous = entry;
    }
  }
}

bool changes(const Lane& lane, const std::vector<int>& kept) {
  const size_t packed_pages = (kept.size() + kPageEntries - 1) / kPageEntries;
  return kept.size() != static_cast<size_t>(lane.size()) || packed_pages < lane.pages().size();
}

void keep_all(Cache& cache, const std::vector<std::vector<int>>& kept) {
  for (size_t i = 0; i < kept.size(); i++) {
    const int layer = static_cast<int>(i) / cache.kv_heads(), head = static_cast<int>(i) % cache.kv_heads();
    if (changes(cache.lane(layer, head), kept[i])) cache.keep(layer, head, kept[i]);
  }
}

}  // namespace

EvictReport keep_entries(Cache& cache, const std::vector<std::vector<int>>& kept) {
  check(cache, kept);
  const Stopwatch watch;
  EvictReport report;
  report.entries_before = cache.entries();
  report.bytes_before = cache.bytes();
  for (size_t i = 0; i < kept.size(); i++) {
    const int layer = static_cast<int>(i) / cache.kv_heads(), head = static_cast<int>(i) % cache.kv_heads();
    report.lanes.push_back({.layer = layer,
                            .head = head,
                            .entries_before = cache.lane(layer, head).size(),
                            .entries_after = static_cast<int>(kept[i].size())});
  }

  const size_t shared_before = cache.shared_bytes();
  if (shared_before == 0) {
    keep_all(cache, kept);
  } else {
    Cache next = cache.fork();
    keep_all(next, kept);
    cache = std::move(next);
  }
  report.pinned_bytes = shared_before - cache.shared_bytes();
  cache.pool()->trim();

  report.entries_after = cache.entries();
  report.bytes_after = cache.bytes();
  report.keep = report.entries_before == 0
                    ? 1.0
                    : static_cast<double>(report.entries_after) / static_cast<double>(report.entries_before);
  std::vector<int> sizes;
  for (const LaneShare& lane : report.lanes) sizes.push_back(lane.entries_after);
  std::sort(sizes.begin(), sizes.end());
  report.lane_min = sizes.front();
  report.lane_median = sizes[sizes.size() / 2];
  report.lane_max = sizes.back();
  report.compact_ms = watch.ms();
  return report;
}

}  // namespace kvedit
