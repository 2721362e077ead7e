#include "model/rope_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kvedit {
namespace {

// llama.cpp reads these from metadata for none of our architectures.
constexpr double kBetaFast = 32;
constexpr double kBetaSlow = 1;

/// The pair that makes `turns` whole turns within the original context.
double pair_of_turns(const RopeScaling& scaling, double turns) {
  return scaling.dims * std::log(scaling.original_context / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(scaling.base));
}

double yarn_growth(double factor) { return 1 + 0.1 * std::log(factor); }

}  // namespace

Rope make_rope(const RopeScaling& scaling, double model_factor, std::span<const float> factors) {
  Rope rope;
  rope.neox = scaling.neox;
  rope.frequencies.resize(scaling.dims / 2);
  double low = 0;
  double high = 0;
  if (scaling.yarn) {
    low = std::max(0.0, std::floor(pair_of_turns(scaling, kBetaFast)));
    high = std::min(scaling.dims - 1.0, std::ceil(pair_of_turns(scaling, kBetaSlow)));
  }
  for (size_t i = 0; i < rope.frequencies.size(); i++) {
    double extrapolated = std::pow(scaling.base, -2.0 * static_cast<double>(i) / scaling.dims);
    if (!factors.empty()) extrapolated /= factors[i];
    const double interpolated = extrapolated / scaling.factor;
    double kept = 0;  // share of the unscaled frequency: 1 for fast pairs, 0 for slow ones
    if (scaling.yarn) {
      kept = 1 - std::clamp((static_cast<double>(i) - low) / std::max(0.001, high - low), 0.0, 1.0);
    }
    rope.frequencies[i] = interpolated * (1 - kept) + extrapolated * kept;
  }
  double magnitude = scaling.attention_factor;
  if (scaling.yarn) {
    // libllama divides by the whole model's growth (which is its own mscale for factors above 1, and
    // nothing below), then ggml multiplies by that of this layer's factor.
    magnitude *=
        std::max(1.0, yarn_growth(model_factor)) / yarn_growth(model_factor) * yarn_growth(scaling.factor);
  }
  rope.magnitude = static_cast<float>(magnitude);
  return rope;
}

}  // namespace kvedit
