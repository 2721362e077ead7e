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

/// "62.5 % [45.8, 79.2]", "0.0451 [0.0401, 0.0502]"
std::string to_text(const Interval& interval, Mean mean);

}  // namespace kvedit::eval
