// Clocks and the summary of repetitions.
#pragma once

#include <vector>

#include "tools/stopwatch.h"

namespace kvedit::bench {

struct Summary {
  double min = 0;
  double median = 0;
  double max = 0;
};

/// Summarises at least one value; the median of an even number is the mean of the two in the middle.
Summary summarize(std::vector<double> values);

/// Divides pair by pair, so that more than 1 means ours is better.
std::vector<double> ratios(const std::vector<double>& ours, const std::vector<double>& peer,
                           bool higher_is_better);

/// Waits until this process uses no CPU time while its caller sleeps. The workers of ggml and OpenMP spin
/// for a while after their last task and would take time from the other runtime. Throws Error(busy) after
/// five seconds.
void wait_until_idle();

}  // namespace kvedit::bench
