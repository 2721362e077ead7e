#include "train/soft_top_k.h"

#include <torch/utils.h>

#include <algorithm>
#include <numeric>

namespace kvedit::train {
namespace {

constexpr double kLeast = 1e-3;  // a count is kept this far from 0 and n, where tau is infinite
constexpr int kHalvings = 60;    // of the interval around tau, in double: to the last bit that counts

// tau [lanes][1] by bisection; scores and counts in double.
torch::Tensor threshold(const torch::Tensor& scores, const torch::Tensor& counts, double temperature) {
  // sigmoid(20) leaves 2e-9 of an entry: no count between kLeast and n - kLeast has its tau outside.
  torch::Tensor low = std::get<0>(scores.min(1, true)) - 20 * temperature;
  torch::Tensor high = std::get<0>(scores.max(1, true)) + 20 * temperature;
  for (int i = 0; i < kHalvings; i++) {
    const torch::Tensor middle = (low + high) / 2;
    const torch::Tensor too_many = ((scores - middle) / temperature).sigmoid().sum(1, true) > counts;
    low = torch::where(too_many, middle, low);
    high = torch::where(too_many, high, middle);
  }
  return (low + high) / 2;
}

}  // namespace

torch::Tensor soft_keep(const torch::Tensor& scores, const torch::Tensor& counts, double temperature) {
  const auto n = static_cast<double>(scores.size(1));
  const torch::Tensor whole = (counts >= n - kLeast).unsqueeze(1);
  const torch::Tensor wanted = counts.detach().clamp(kLeast, n - kLeast).unsqueeze(1);
  const torch::Tensor more = (counts - counts.detach()).unsqueeze(1);  // 0, with the counts' gradient
  torch::Tensor tau, weights;
  {
    const torch::NoGradGuard constants;
    const torch::Tensor exact = scores.to(torch::kDouble);
    const torch::Tensor at = threshold(exact, wanted.to(torch::kDouble), temperature);
    const torch::Tensor m = ((exact - at) / temperature).sigmoid();
    tau = at.to(scores.scalar_type());
    weights = (m * (1 - m)).to(scores.scalar_type());
  }
  // Its value is tau, its derivative the implicit function theorem's.
  const torch::Tensor moved = (weights * (scores - scores.detach())).sum(1, true);
  const torch::Tensor threshold = tau + (moved - temperature * more) / weights.sum(1, true).clamp_min(1e-12);
  const torch::Tensor logs = torch::log_sigmoid((scores - threshold) / temperature);
  return logs.masked_fill(whole, 0);
}

torch::Tensor learned_counts(const torch::Tensor& logits, const std::vector<double>& room, double budget) {
  const auto lanes = static_cast<int64_t>(room.size());
  const torch::Tensor shares = logits.softmax(0);
  torch::Tensor rooms = torch::tensor(room, logits.options().requires_grad(false));
  torch::Tensor full = torch::zeros({lanes}, torch::kBool);
  if (budget >= std::accumulate(room.begin(), room.end(), 0.0)) return rooms;
  while (true) {
    const torch::Tensor open = shares.masked_fill(full, 0);
    const torch::Tensor left = budget - rooms.masked_fill(full.logical_not(), 0).sum();
    torch::Tensor counts = torch::where(full, rooms, left * open / open.sum());
    const torch::Tensor filled = counts >= rooms;
    if (torch::equal(filled, full)) return counts;
    full = filled;
  }
}

}  // namespace kvedit::train
