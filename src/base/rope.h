// Rotary position embedding (RoFormer, arXiv 2104.09864): pair i of a head is turned by the angle
// position * frequency[i]. All scalings of GGUF metadata (linear, YaRN, factors) are folded into
// the frequencies once, so that a shift of positions is a turn by delta * frequency[i].
#pragma once

#include <span>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

struct Rope {
  std::vector<double> frequencies;  // [dims / 2], radians a position
  bool neox = false;                // pairs (i, i + dims/2) instead of (2i, 2i + 1)
  float magnitude = 1.0F;           // YaRN's attention factor, applied when a key is made

  int dims() const { return static_cast<int>(frequencies.size()) * 2; }
  int first(int pair) const { return neox ? pair : 2 * pair; }
  int second(int pair) const { return neox ? pair + dims() / 2 : 2 * pair + 1; }

  /// cosines and sines [pairs] of the angles at `position`, without the magnitude.
  void turn(Position position, std::span<float> cosines, std::span<float> sines) const;
};

}  // namespace kvedit
