#include "bench/measure.h"

#include <algorithm>
#include <ctime>
#include <thread>

#include "tools/text.h"

namespace kvedit::bench {
namespace {

double cpu_ms() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return 1e3 * static_cast<double>(used.tv_sec) + 1e-6 * static_cast<double>(used.tv_nsec);
}

}  // namespace

Summary summarize(std::vector<double> values) {
  if (values.empty()) fail(ErrorCode::invalid_argument, "bench", "no repetition to summarize");
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return {values.front(), (values[(n - 1) / 2] + values[n / 2]) / 2, values.back()};
}

std::vector<double> ratios(const std::vector<double>& ours, const std::vector<double>& peer,
                           bool higher_is_better) {
  std::vector<double> result;
  for (size_t i = 0; i < std::min(ours.size(), peer.size()); i++) {
    result.push_back(higher_is_better ? ours[i] / peer[i] : peer[i] / ours[i]);
  }
  return result;
}

void wait_until_idle() {
  using namespace std::chrono_literals;
  const Stopwatch timer;
  while (timer.ms() < 5000) {
    const double before = cpu_ms();
    std::this_thread::sleep_for(20ms);
    if (cpu_ms() - before < 1) return;
  }
  fail(ErrorCode::busy, "bench", "worker threads did not come to rest in 5 seconds; timings would be wrong");
}

}  // namespace kvedit::bench
