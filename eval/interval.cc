#include "eval/interval.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "tools/text.h"

namespace kvedit::eval {
namespace {

constexpr size_t kSamples = 2000;
constexpr uint64_t kSeed = 95;
constexpr double kNormal = 1.959964;  // 97.5 % of the normal distribution lies below
constexpr double kClaimed = 0.05;
constexpr size_t kMostExact = 14;  // pairs of which every flip is looked at
constexpr size_t kFlips = 20000;   // of more

// 97.5 % of Student's t of 1 and 2 degrees of freedom lie below: of so few values there are too few samples.
constexpr double kStudent[] = {12.7062, 4.3027};

struct Estimate {
  double value = 0;
  double error = 0;  // standard
};

// The bootstrap-t of `estimate` over samples of the indices below n. A sample without spread says nothing and
// is left out.
template <typename Estimator>
Interval bootstrap_t(size_t n, const Estimator& estimate) {
  Random random{kSeed};
  std::vector<size_t> sample(n);
  std::iota(sample.begin(), sample.end(), size_t{0});
  const Estimate whole = estimate(sample);
  Interval result{whole.value, whole.value, whole.value};
  if (n - 2 < std::size(kStudent)) {
    result.low -= kStudent[n - 2] * whole.error;
    result.high += kStudent[n - 2] * whole.error;
    return result;
  }
  std::vector<double> ts;
  for (size_t s = 0; s < kSamples && whole.error > 0; s++) {
    for (size_t& i : sample) i = random.below(n);
    const Estimate drawn = estimate(sample);
    const double t = (drawn.value - whole.value) / drawn.error;
    if (drawn.error > 0 && std::isfinite(t)) ts.push_back(t);
  }
  if (ts.empty()) return result;
  std::sort(ts.begin(), ts.end());
  const size_t tail = ts.size() / 40;  // 2.5 % at either side
  result.low = whole.value - ts[ts.size() - 1 - tail] * whole.error;
  result.high = whole.value - ts[tail] * whole.error;
  return result;
}

// Mean and standard error of value(i) over the sample.
template <typename Value>
Estimate mean_of(const std::vector<size_t>& sample, const Value& value) {
  const auto n = static_cast<double>(sample.size());
  double sum = 0, squares = 0;
  for (const size_t i : sample) sum += value(i);
  const double mean = sum / n;
  for (const size_t i : sample) squares += (value(i) - mean) * (value(i) - mean);
  return {mean, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

Interval mean_interval(const std::vector<double>& values) {
  return bootstrap_t(values.size(), [&](const std::vector<size_t>& sample) {
    return mean_of(sample, [&](size_t i) { return values[i]; });
  });
}

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

Interval wilson(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  const double p = sum_of(values) / n, z = kNormal;
  const double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(std::max(0.0, p * (1 - p) / n + z * z / (4 * n * n)));
  return {p, std::clamp(middle - half, 0.0, p), std::clamp(middle + half, p, 1.0)};
}

// Half a pair more in each cell of the table of two answers, right and wrong: 2 pairs more, of which half
// differ.
Interval agresti_min(const std::vector<double>& differences) {
  const auto n = static_cast<double>(differences.size());
  const double sum = sum_of(differences);
  double squares = 1;
  for (const double d : differences) squares += d * d;
  const double middle = sum / (n + 2);
  const double half = kNormal * std::sqrt(std::max(0.0, squares - sum * middle)) / (n + 2);
  return {sum / n, std::max(-1.0, middle - half), std::min(1.0, middle + half)};
}

Interval exponential(const Interval& i) { return {std::exp(i.mean), std::exp(i.low), std::exp(i.high)}; }

void take_logs(std::vector<double>& values) {
  for (double& value : values) value = std::log(value);
}

double sign_flip(const std::vector<double>& differences) {
  const size_t n = differences.size();
  const double observed = std::fabs(sum_of(differences));
  double scale = 0;
  for (const double d : differences) scale += std::fabs(d);
  const auto reaches = [&](const auto& flipped) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += flipped(i) ? -differences[i] : differences[i];
    return std::fabs(sum) >= observed - 1e-12 * scale;
  };
  size_t count = 0;
  if (n <= kMostExact) {
    const size_t all = size_t{1} << n;
    for (size_t bits = 0; bits < all; bits++)
      count += reaches([&](size_t i) { return (bits >> i & 1U) != 0; });
    return static_cast<double>(count) / static_cast<double>(all);
  }
  Random random{kSeed};
  for (size_t s = 0; s < kFlips; s++) count += reaches([&](size_t) { return random.below(2) != 0; });
  return static_cast<double>(count + 1) / static_cast<double>(kFlips + 1);
}

void check_pairs(const std::vector<double>& values, const std::vector<double>& reference) {
  if (!values.empty() && values.size() == reference.size()) return;
  fail(ErrorCode::invalid_argument, "eval", values.size(), " values, ", reference.size(),
       " of the reference");
}

}  // namespace

Interval interval(std::vector<double> values, Mean mean) {
  if (values.empty()) fail(ErrorCode::invalid_argument, "eval", "no values to average");
  if (mean == Mean::share) return wilson(values);
  if (mean == Mean::arithmetic) {
    Interval i = mean_interval(values);
    if (*std::min_element(values.begin(), values.end()) >= 0) i.low = std::max(i.low, 0.0);
    return i;
  }
  take_logs(values);
  return exponential(mean_interval(values));
}

Tail tail(std::vector<double> values) {
  if (values.empty()) fail(ErrorCode::invalid_argument, "eval", "no values to order");
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return {(values[(n - 1) / 2] + values[n / 2]) / 2, values[(95 * n + 99) / 100 - 1], values.back()};
}

Difference difference(std::vector<double> values, std::vector<double> reference, Mean mean) {
  check_pairs(values, reference);
  if (mean == Mean::geometric) take_logs(values), take_logs(reference);
  for (size_t i = 0; i < values.size(); i++) values[i] -= reference[i];
  Interval i = mean == Mean::share ? agresti_min(values) : mean_interval(values);
  if (mean == Mean::geometric) i = exponential(i);
  return {i, values.size(), sign_flip(values)};
}

std::optional<Interval> quotient(const std::vector<double>& values, const std::vector<double>& reference) {
  check_pairs(values, reference);
  const double mine = sum_of(values), other = sum_of(reference);
  if (!(other > 0)) return std::nullopt;
  if (!(mine > 0)) return Interval{mine / other, mine / other, mine / other};
  // d (x / y) = x / y (dx / x - dy / y). Its logarithm's interval covers no more, and can be a hundred times
  // as wide.
  Interval i = bootstrap_t(values.size(), [&](const std::vector<size_t>& sample) {
    const double x = mean_of(sample, [&](size_t k) { return values[k]; }).value;
    const double y = mean_of(sample, [&](size_t k) { return reference[k]; }).value;
    const double error = mean_of(sample, [&](size_t k) { return values[k] / x - reference[k] / y; }).error;
    return Estimate{x / y, x / y * error};
  });
  i.low = std::max(i.low, 0.0);
  return i;
}

bool significant(const Difference& difference) {
  return difference.pairs >= kFewExamples && difference.p < kClaimed;
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
