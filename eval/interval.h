// How sure a mean over examples is.
#pragma once

#include <vector>

#include "eval/task.h"

namespace kvedit::eval {

/// A mean and its 95 % interval: percentiles of the means of 2,000 bootstrap samples (Efron 1979), drawn
/// with a fixed seed.
struct Interval {
  double mean = 0;
  double low = 0;
  double high = 0;
};

/// Of at least one value.
Interval interval(std::vector<double> values, Mean mean);

/// Of the pairs' differences, values - reference; of geometric means the quotient. Equally long.
Interval difference(std::vector<double> values, std::vector<double> reference, Mean mean);
/// Of the arithmetic means' quotient, pairs drawn together. The reference's mean is above 0.
Interval quotient(const std::vector<double>& values, const std::vector<double>& reference);
/// Whether a difference is one: its interval excludes 0 (1 of geometric means).
bool claimed(const Interval& difference, Mean mean);

/// "62.5 % [45.8, 79.2]", "0.0451 [0.0401, 0.0502]"
std::string to_text(const Interval& interval, Mean mean);

}  // namespace kvedit::eval
