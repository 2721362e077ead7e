#include "evict/allocators/shares.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kvedit {

std::vector<LayerLanes> by_layer(std::span<const Candidates> lanes, int kv_heads) {
  std::vector<LayerLanes> layers;
  for (size_t at = 0; at < lanes.size(); at += kv_heads) {
    LayerLanes& layer = layers.emplace_back(LayerLanes{lanes.subspan(at, kv_heads)});
    for (const Candidates& lane : layer.lanes) layer.room += lane.scores.size();
  }
  return layers;
}

std::vector<size_t> room_of(std::span<const Candidates> lanes) {
  std::vector<size_t> room;
  for (const Candidates& lane : lanes) room.push_back(lane.scores.size());
  return room;
}

std::vector<size_t> room_of(std::span<const LayerLanes> layers) {
  std::vector<size_t> room;
  for (const LayerLanes& layer : layers) room.push_back(layer.room);
  return room;
}

std::vector<size_t> water_fill(std::span<const size_t> room, size_t budget) {
  std::vector<size_t> order(room.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return room[a] < room[b]; });
  std::vector<size_t> shares(room.begin(), room.end());
  size_t filled = 0;  // the first so many of the order are full
  while (filled < order.size() && room[order[filled]] <= budget / (order.size() - filled)) {
    budget -= room[order[filled++]];
  }
  if (filled == order.size()) return shares;
  // All others have room for more than the level, so for one of the remainder, too.
  const size_t level = budget / (order.size() - filled);
  size_t remainder = budget % (order.size() - filled);
  std::sort(order.begin() + static_cast<ptrdiff_t>(filled), order.end());
  for (size_t i = filled; i < order.size(); i++) {
    shares[order[i]] = level + (remainder > 0 ? 1 : 0);
    remainder -= remainder > 0;
  }
  return shares;
}

std::vector<size_t> in_proportion(std::span<const double> weights, std::span<const size_t> room,
                                  size_t budget) {
  budget = std::min(budget, std::accumulate(room.begin(), room.end(), size_t{0}));
  std::vector<size_t> shares(room.size());
  std::vector<size_t> open(room.size());  // not full yet
  std::iota(open.begin(), open.end(), size_t{0});
  double all = 0;
  const auto part = [&](size_t i) {
    return static_cast<double>(budget) *
           (all > 0 ? weights[i] / all : 1.0 / static_cast<double>(open.size()));
  };
  for (bool filled = true; filled;) {
    all = 0;
    for (const size_t i : open) all += weights[i];
    const auto full = std::stable_partition(open.begin(), open.end(),
                                            [&](size_t i) { return part(i) < static_cast<double>(room[i]); });
    filled = full != open.end();
    for (auto i = full; i != open.end(); ++i) shares[*i] = room[*i];
    for (auto i = full; i != open.end(); ++i) budget -= std::min(room[*i], budget);
    open.erase(full, open.end());
  }
  size_t left = budget;
  for (const size_t i : open) {
    shares[i] = std::min(left, static_cast<size_t>(part(i)));
    left -= shares[i];
  }
  const auto remainder = [&](size_t i) { return part(i) - std::floor(part(i)); };
  std::stable_sort(open.begin(), open.end(), [&](size_t a, size_t b) { return remainder(a) > remainder(b); });
  for (size_t i = 0; i < open.size() && left > 0; i++, left--) shares[open[i]]++;
  return shares;
}

}  // namespace kvedit
