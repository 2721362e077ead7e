#include "base/rope.h"

#include <cmath>

namespace kvedit {

void Rope::turn(Position position, std::span<float> cosines, std::span<float> sines) const {
  for (size_t i = 0; i < frequencies.size(); i++) {
    const double angle = position * frequencies[i];
    cosines[i] = static_cast<float>(std::cos(angle));
    sines[i] = static_cast<float>(std::sin(angle));
  }
}

}  // namespace kvedit
