// How sure a mean over examples is, and whether two differ.
#pragma once

#include <optional>
#include <vector>

#include "eval/task.h"

namespace kvedit::eval {

/// With fewer examples an interval covers too little to be believed, and no difference is claimed.
inline constexpr size_t kFewExamples = 10;

/// A mean and its 95 % interval.
struct Interval {
  double mean = 0;
  double low = 0;
  double high = 0;
};

/// Of paired values, and the probability of one at least as large if every pair's sign were a toss.
struct Difference : Interval {
  size_t pairs = 0;
  double p = 1;
};

/// What a mean hides: the middle value, the one that 95 % do not pass, the largest.
struct Tail {
  double median = 0;
  double most = 0;  // of 95 %, by nearest rank
  double worst = 0;
};

/// Of at least one value. Shares: Wilson's score interval (1927); else the bootstrap-t (Efron and Tibshirani
/// 1993, ch. 12.5) of 2,000 samples with a fixed seed, of geometric means on the logarithms.
Interval interval(std::vector<double> values, Mean mean);
/// Of at least one value.
Tail tail(std::vector<double> values);

/// Of the pairs' differences, values - reference; of geometric means the quotient. Equally long. Shares: as
/// Agresti and Min (2005), else the bootstrap-t. p: a two-sided sign-flip test, of all flips up to 14 pairs,
/// of 20,000 drawn ones beyond.
Difference difference(std::vector<double> values, std::vector<double> reference, Mean mean);
/// Of the arithmetic means' quotient, pairs drawn together, a bootstrap-t. None where the
/// reference's mean is not above 0.
std::optional<Interval> quotient(const std::vector<double>& values, const std::vector<double>& reference);
/// Whether a difference is one: at least kFewExamples pairs, and p below 0.05.
bool significant(const Difference& difference);

/// "62.5 % [45.8, 79.2]", "0.0451 [0.0401, 0.0502]"
std::string to_text(const Interval& interval, Mean mean);

}  // namespace kvedit::eval
