// Clocks and the summary of repetitions.
#pragma once

#include <vector>

#include "base/stopwatch.h"

namespace kvedit::bench {

struct Summary {
  double min = 0;
  double median = 0;
  double max = 0;
};

/// Of at least one value. An even number of values: the mean of the two in the middle.
Summary summarize(std::vector<double> values);

/// Pair by pair, oriented so that more than 1 means ours is better.
std::vector<double> ratios(const std::vector<double>& ours, const std::vector<double>& peer,
                           bool higher_is_better);

/// Returns when this process uses no CPU time while its caller sleeps. The workers of ggml and OpenMP
/// spin for a while after their last task; waiting keeps one side's from taking time from the other's.
/// Throws Error(busy) when they have not come to rest after five seconds.
void wait_until_idle();

}  // namespace kvedit::bench
