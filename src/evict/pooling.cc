#include "evict/pooling.h"

#include <algorithm>

#include "base/check.h"

namespace kvedit {

std::vector<float> pool(std::span<const float> scores, int kernel, Pooling pooling) {
  const int n = static_cast<int>(scores.size());
  const int radius = kernel / 2;
  std::vector<float> pooled(n);
  for (int j = 0; j < n; j++) {
    const auto begin = scores.begin() + std::max(0, j - radius);
    const auto end = scores.begin() + std::min(n, j + radius + 1);
    if (pooling == Pooling::maximum) {
      pooled[j] = *std::max_element(begin, end);
    } else {
      double sum = 0;
      for (auto s = begin; s != end; ++s) sum += *s;
      pooled[j] = static_cast<float>(sum / kernel);
    }
  }
  return pooled;
}

std::vector<Parameter> pooling_parameters(int kernel, Pooling pooling) {
  return {{.name = "kernel",
           .value = static_cast<double>(kernel),
           .description = "entries pooled along the lane, odd; 1: not pooled",
           .minimum = 1,
           .maximum = 255},
          {.name = "pool",
           .value = pooling == Pooling::average ? 0.0 : 1.0,
           .description = "how they are pooled",
           .maximum = 1,
           .choices = {"avg", "max"}}};
}

void check_kernel(int kernel) {
  if (kernel % 2 == 1) return;
  fail(ErrorCode::invalid_argument, "evict", "kernel=", kernel, " is even; pooling is centred on an entry");
}

}  // namespace kvedit
