// One-dimensional pooling of scores along a lane, stride 1, `kernel` odd, as torch pads it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "kvedit/evict.h"

namespace kvedit {

enum class Pooling { average, maximum };

/// Average: outside the scores counts as zero, and the sum is always divided by the kernel
/// (count_include_pad). Maximum: outside is ignored.
std::vector<float> pool(std::span<const float> scores, int kernel, Pooling pooling);

/// Declarations of the parameters `kernel` and `pool`, and the check that the kernel is odd.
std::vector<Parameter> pooling_parameters(int kernel, Pooling pooling);
void check_kernel(int kernel);

}  // namespace kvedit
