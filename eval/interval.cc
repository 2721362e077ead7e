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

// Percentiles of `statistic` over samples of the indices below n.
template <typename Statistic>
Interval bootstrap(size_t n, const Statistic& statistic) {
  Draws draws{kSeed};
  std::vector<size_t> sample(n);
  std::iota(sample.begin(), sample.end(), size_t{0});
  Interval result;
  result.mean = statistic(sample);
  std::vector<double> values;
  for (size_t s = 0; s < kSamples; s++) {
    for (size_t& i : sample) i = draws.below(n);
    values.push_back(statistic(sample));
  }
  std::sort(values.begin(), values.end());
  result.low = values[kTail];
  result.high = values[kSamples - 1 - kTail];
  return result;
}

double mean_of(const std::vector<double>& values, const std::vector<size_t>& sample) {
  double sum = 0;
  for (const size_t i : sample) sum += values[i];
  return sum / static_cast<double>(sample.size());
}

}  // namespace

Interval interval(std::vector<double> values, Mean mean) {
  if (values.empty()) fail(ErrorCode::invalid_argument, "eval", "no values to average");
  if (mean == Mean::geometric) {
    for (double& value : values) value = std::log(value);
  }
  Interval i = bootstrap(values.size(), [&](const auto& sample) { return mean_of(values, sample); });
  if (mean == Mean::geometric) i = {std::exp(i.mean), std::exp(i.low), std::exp(i.high)};
  return i;
}

Interval difference(std::vector<double> values, std::vector<double> reference, Mean mean) {
  if (values.size() != reference.size())
    fail(ErrorCode::invalid_argument, "eval", values.size(), " values, ", reference.size(),
         " of the reference");
  for (size_t i = 0; i < values.size(); i++) {
    values[i] = mean == Mean::geometric ? values[i] / reference[i] : values[i] - reference[i];
  }
  return interval(std::move(values), mean);
}

Interval quotient(const std::vector<double>& values, const std::vector<double>& reference) {
  if (values.empty() || values.size() != reference.size())
    fail(ErrorCode::invalid_argument, "eval", values.size(), " values, ", reference.size(),
         " of the reference");
  return bootstrap(values.size(),
                   [&](const auto& sample) { return mean_of(values, sample) / mean_of(reference, sample); });
}

bool claimed(const Interval& difference, Mean mean) {
  const double same = mean == Mean::geometric ? 1 : 0;
  return difference.low > same || difference.high < same;
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
