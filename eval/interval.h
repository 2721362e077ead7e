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

/// A mean of paired values, with the probability of one at least as large if every pair's sign were a toss.
struct Difference : Interval {
  size_t pairs = 0;
  double p = 1;
};

/// What a mean hides.
struct Tail {
  double median = 0;  // the middle value
  double most = 0;    // the 95th percentile, by nearest rank
  double worst = 0;   // the largest value
};

/// Estimates the mean of at least one value. Shares get Wilson's score interval (1927), other values the
/// bootstrap-t (Efron and Tibshirani 1993, ch. 12.5) of 2,000 samples with a fixed seed; geometric means are
/// taken on logarithms.
Interval interval(std::vector<double> values, Mean mean);
/// Summarises at least one value.
Tail tail(std::vector<double> values);

/// Estimates the mean of the pairs' differences, values - reference, or the quotient of geometric means.
/// Both lists are equally long. Shares: as Agresti and Min (2005), else the bootstrap-t. p: a two-sided
/// sign-flip test over all flips up to 14 pairs, over 20,000 drawn ones beyond.
Difference difference(std::vector<double> values, std::vector<double> reference, Mean mean);
/// Estimates the quotient of the arithmetic means by a bootstrap-t that draws pairs together. Returns
/// nothing where the reference's mean is not above 0.
std::optional<Interval> quotient(const std::vector<double>& values, const std::vector<double>& reference);
/// Tells whether a difference is one: at least kFewExamples pairs, and p below 0.05.
bool significant(const Difference& difference);

/// Writes "62.5 % [45.8, 79.2]" or "0.0451 [0.0401, 0.0502]".
std::string to_text(const Interval& interval, Mean mean);

}  // namespace kvedit::eval
