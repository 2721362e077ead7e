// The top-k of LKV (arXiv 2605.06676) made differentiable: who is kept becomes how much, and how many a
// lane keeps may be any number, so that a loss reaches scores and budgets alike. As the temperature falls
// to 0 it becomes the selection that is served.
#pragma once

#include <torch/types.h>

#include <vector>

namespace kvedit::train {

/// log m [lanes][n], m = sigmoid((s - tau) / T) with each lane's tau such that its m sum to its count:
/// what is added to attention logits. scores: [lanes][n]; counts: [lanes], each in [0, n].
///
/// Differentiated through tau: with w = m (1 - m), d tau = (sum_j w_j d s_j - T d count) / sum_j w_j, by
/// the implicit function theorem. (A detached tau would give the counts no gradient at all.) A lane whose
/// count is n keeps everything: log m = 0, without gradient.
torch::Tensor soft_keep(const torch::Tensor& scores, const torch::Tensor& counts, double temperature);

/// LKV-H, [lanes]: budget * softmax(logits), where what passes a lane's room goes to the others by their
/// shares: in_proportion() of evict/proportional.h without rounding. Sums to min(budget, sum of room).
torch::Tensor learned_counts(const torch::Tensor& logits, const std::vector<double>& room, double budget);

}  // namespace kvedit::train
