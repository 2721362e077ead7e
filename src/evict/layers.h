// The lanes of an allocation by layer.
#pragma once

#include <span>
#include <vector>

#include "evict/policy.h"

namespace kvedit {

struct LayerLanes {
  std::span<const Candidates> lanes;
  size_t room = 0;  // candidates
};

inline std::vector<LayerLanes> by_layer(std::span<const Candidates> lanes, int kv_heads) {
  std::vector<LayerLanes> layers;
  for (size_t at = 0; at < lanes.size(); at += kv_heads) {
    LayerLanes& layer = layers.emplace_back(LayerLanes{lanes.subspan(at, kv_heads)});
    for (const Candidates& lane : layer.lanes) layer.room += lane.scores.size();
  }
  return layers;
}

/// What limits a lane or a layer.
inline std::vector<size_t> room_of(std::span<const Candidates> lanes) {
  std::vector<size_t> room;
  for (const Candidates& lane : lanes) room.push_back(lane.scores.size());
  return room;
}

inline std::vector<size_t> room_of(std::span<const LayerLanes> layers) {
  std::vector<size_t> room;
  for (const LayerLanes& layer : layers) room.push_back(layer.room);
  return room;
}

}  // namespace kvedit
