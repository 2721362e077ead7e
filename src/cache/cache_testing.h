// What the cache's tests share: small caches filled with numbers that name their entry.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "cache/cache.h"
#include "kvedit/error.h"
#include "tools/resident.h"

namespace kvedit {

inline std::shared_ptr<const std::vector<Rope>> test_ropes(int layers, int pairs, bool neox = false) {
  auto ropes = std::make_shared<std::vector<Rope>>(layers);
  for (int layer = 0; layer < layers; layer++) {
    (*ropes)[layer].neox = neox;
    for (int i = 0; i < pairs; i++) {
      (*ropes)[layer].frequencies.push_back(
          std::pow(layer % 2 == 0 ? 1e4 : 1e6, -static_cast<double>(i) / pairs));
    }
  }
  return ropes;
}

inline std::vector<Position> range(Position begin, Position end) {
  std::vector<Position> positions(std::max(0, end - begin));
  std::iota(positions.begin(), positions.end(), begin);
  return positions;
}

/// Element d of the key (or value) first stored at a position of a lane: exact in f16.
inline float test_element(int lane, Position position, int d, bool value) {
  return static_cast<float>((position * 7 + lane * 31 + d * 3 + (value ? 500 : 0)) % 2001 - 1000) / 1024.0F;
}

inline std::vector<float> test_rows(int lane, std::span<const Position> positions, int dim, bool value) {
  std::vector<float> rows;  // [position][dim]
  for (Position position : positions) {
    for (int d = 0; d < dim; d++) rows.push_back(test_element(lane, position, d, value));
  }
  return rows;
}

/// Writes test_element rows at `positions` of every lane.
inline void write_test_rows(Cache& cache, std::span<const Position> positions) {
  const PageShape& shape = cache.pool()->shape();
  for (int lane = 0; lane < cache.layers() * cache.kv_heads(); lane++) {
    cache.write(lane / cache.kv_heads(), lane % cache.kv_heads(), positions,
                test_rows(lane, positions, shape.key_dim, false),
                test_rows(lane, positions, shape.value_dim, true));
  }
}

struct Rows {
  std::vector<Position> positions;
  std::vector<float> keys, values;
  bool operator==(const Rows&) const = default;
};

inline Rows read_rows(const Lane& lane, const PageShape& shape) {
  Rows rows{lane.positions(), std::vector<float>(lane.size() * shape.key_dim),
            std::vector<float>(lane.size() * shape.value_dim)};
  lane.read(0, lane.size(), rows.keys, rows.values);
  return rows;
}

inline std::vector<Rows> read_all(const Cache& cache) {
  std::vector<Rows> all;
  for (int layer = 0; layer < cache.layers(); layer++) {
    for (int head = 0; head < cache.kv_heads(); head++) {
      all.push_back(read_rows(cache.lane(layer, head), cache.pool()->shape()));
    }
  }
  return all;
}

#ifdef KVEDIT_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// The code and message that `body` throws; fails the test if it does not.
template <typename Body>
std::pair<ErrorCode, std::string> error_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace kvedit
