#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "evict/scoring.h"
#include "tools/text.h"

namespace kvedit {
namespace {

// A lane's entries: [0, reach) out of reach, [reach, begin) sinks, [begin, end) competing,
// [end, size) recent.
struct Split {
  int reach;
  int begin;
  int end;
  int size;
  int reachable() const { return size - reach; }
  int kept_always() const { return (begin - reach) + (size - end); }
};

Split split(const Policy& policy, const LayerView& view, int head) {
  Split s{};
  s.size = view.cache.lane(view.layer, head).size() - view.pending;
  s.reach = view.first_reachable(head);
  const bool sliding = view.network.hparams().window_of(view.layer) > 0;
  s.begin = sliding ? s.reach : s.reach + std::min(policy.sinks, s.reachable());
  s.end = std::max(s.begin, s.size - std::min(policy.recent, s.reachable()));
  return s;
}

bool met(const Budget& budget, const Cache& cache, int pending) {
  size_t entries = 0, pages = 0;
  for (int layer = 0; layer < cache.layers(); layer++) {
    for (int head = 0; head < cache.kv_heads(); head++) {
      const Lane& lane = cache.lane(layer, head);
      entries += lane.size() - pending;
      pages += lane.pages().size() - (pending > 0 && lane.pages().back()->count <= pending);
    }
  }
  switch (budget.kind) {
    case Budget::Kind::fraction:
      return budget.amount == 1;
    case Budget::Kind::tokens:
      return static_cast<double>(entries) <= budget.amount * cache.layers() * cache.kv_heads();
    case Budget::Kind::bytes:
      return static_cast<double>(pages * cache.pool()->page_bytes()) <= budget.amount;
  }
  return false;
}

// The entries a budget has room for, over all lanes.
size_t entries_of(const Budget& budget, const Cache& cache, std::span<const Split> lanes) {
  size_t reachable = 0;
  size_t filled_lanes = 0;
  for (const Split& lane : lanes) {
    reachable += lane.reachable();
    filled_lanes += lane.reachable() > 0;
  }
  double entries = 0;
  switch (budget.kind) {
    case Budget::Kind::fraction:
      entries = budget.amount * static_cast<double>(reachable) + 1e-6;  // 0.29 * 100 is below 29
      break;
    case Budget::Kind::tokens:
      entries = budget.amount * static_cast<double>(lanes.size());
      break;
    case Budget::Kind::bytes: {
      // A lane of k entries packs into at most (k + 63) / 64 pages.
      const double pages = std::floor(budget.amount / static_cast<double>(cache.pool()->page_bytes()));
      entries = pages * kPageEntries - static_cast<double>(filled_lanes) * (kPageEntries - 1);
      break;
    }
  }
  return static_cast<size_t>(std::clamp(entries, 0.0, static_cast<double>(reachable)));
}

// All entries of every lane but the pending ones.
std::vector<std::vector<int>> everything(const Cache& cache, int pending) {
  std::vector<std::vector<int>> all;
  for (int layer = 0; layer < cache.layers(); layer++) {
    for (int head = 0; head < cache.kv_heads(); head++) {
      all.emplace_back(cache.lane(layer, head).size() - pending);
      std::iota(all.back().begin(), all.back().end(), 0);
    }
  }
  return all;
}

}  // namespace

int LayerView::first_reachable(int head) const {
  const int window = network.hparams().window_of(layer);
  if (window == 0) return 0;
  const Position last_out = cache.last_position() + 1 - pending - window;  // what the next query misses
  int first = 0;
  for (const PageRef& page : cache.lane(layer, head).pages()) {
    const Position* begin = page->positions.data();
    const Position* end = begin + page->count;
    first += static_cast<int>(std::upper_bound(begin, end, last_out) - begin);
    if (end[-1] > last_out) break;
  }
  return first;
}

std::vector<std::vector<int>> choose_entries(const Policy& policy, const Cache& cache, const Network& network,
                                             const Capture& capture, std::span<const Position> positions,
                                             const Budget& budget, const EvictOptions& options, int threads,
                                             int pending) {
  check_budget(budget);
  const Hparams& h = network.hparams();
  if (h.layers != cache.layers() || h.kv_heads != cache.kv_heads()) {
    fail(ErrorCode::invalid_argument, "evict", "a cache of ", cache.layers(), " layers and ",
         cache.kv_heads(), " KV heads is not this model's, of ", h.layers, " and ", h.kv_heads);
  }
  if (met(budget, cache, pending)) return everything(cache, pending);

  const Captures none;
  const int kv_heads = cache.kv_heads();
  LayerView view{0, cache, network, none, options.seed, {}, pending};
  std::vector<Split> lanes;
  size_t always = 0;
  for (view.layer = 0; view.layer < cache.layers(); view.layer++) {
    for (int head = 0; head < kv_heads; head++) {
      lanes.push_back(split(policy, view, head));
      always += lanes.back().kept_always();
    }
  }
  const size_t lane_count = lanes.size();
  const size_t room = entries_of(budget, cache, lanes);
  if (room < always) {
    fail(ErrorCode::out_of_range, "evict", "the budget has room for ", room, " entries, fewer than the ",
         always, " always kept (sinks=", policy.sinks, ", recent=", policy.recent, " in ", lane_count,
         " lanes): keep more than ", always / lane_count, " tokens a lane, or fewer sinks and recent ones");
  }

  policy.selector->check(network);
  Picks picks;
  {  // the scores go before there are lists
    Scoring scoring(view, capture, positions, policy.selector->scorers(), threads, options.progress);
    Contest contest{scoring, {}};
    for (size_t i = 0; i < lane_count; i++) {
      const int lane = static_cast<int>(i);
      contest.lanes.push_back({lane / kv_heads, lane % kv_heads, EntrySet(lanes[i].begin, lanes[i].end)});
    }
    picks = policy.selector->select(contest, room - always);
  }
  std::vector<std::vector<int>> kept(lane_count);
  for (size_t i = 0; i < lane_count; i++) {
    const Split& lane = lanes[i];
    picks[i] |= EntrySet(lane.reach, lane.begin);
    picks[i] |= EntrySet(lane.end, lane.size);
    kept[i] = picks[i].list();
    if (kept[i].empty() && lane.reachable() > 0) {
      fail(ErrorCode::out_of_range, "evict", "the budget has room for ", room, " entries in ", lane_count,
           " lanes and leaves layer ", i / kv_heads, ", head ", i % kv_heads,
           " without any: keep more, or recent=1 and more");
    }
  }
  return kept;
}

}  // namespace kvedit
