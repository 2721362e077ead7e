#include "eval/interval.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "base/check.h"

namespace kvedit::eval {
namespace {

constexpr size_t kSamples = 2000;
constexpr size_t kTail = kSamples / 40;  // 2.5 % at either side
constexpr uint64_t kSeed = 95;

}  // namespace

Interval interval(std::vector<double> values, Mean mean) {
  if (values.empty()) fail(ErrorCode::invalid_argument, "eval", "no values to average");
  if (mean == Mean::geometric) {
    for (double& value : values) value = std::log(value);
  }
  const auto count = static_cast<double>(values.size());
  Draws draws{kSeed};
  std::vector<double> means;
  for (size_t sample = 0; sample < kSamples; sample++) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); i++) sum += values[draws.below(values.size())];
    means.push_back(sum / count);
  }
  std::sort(means.begin(), means.end());
  Interval result{std::accumulate(values.begin(), values.end(), 0.0) / count, means[kTail],
                  means[kSamples - 1 - kTail]};
  if (mean == Mean::geometric) result = {std::exp(result.mean), std::exp(result.low), std::exp(result.high)};
  return result;
}

std::string to_text(const Interval& interval, Mean mean) {
  const double scale = mean == Mean::share ? 100 : 1;
  const char* const format = mean == Mean::share        ? "%.1f %% [%.1f, %.1f]"
                             : mean == Mean::arithmetic ? "%.4f [%.4f, %.4f]"
                                                        : "%.2f [%.2f, %.2f]";
  char text[96];
  std::snprintf(text, sizeof text, format, scale * interval.mean, scale * interval.low,
                scale * interval.high);
  return text;
}

}  // namespace kvedit::eval
