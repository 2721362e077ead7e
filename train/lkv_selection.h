// The selection of LKV (arXiv 2605.06676) made differentiable: each entry is kept to a degree, and a lane may
// keep any number of entries, so that a loss reaches scores and budgets alike. As the temperature falls to 0
// it becomes the selection that is served, evict/select.cc's, term by term.
#pragma once

#include <vector>

#include "train/lkv_tensors.h"

namespace kvedit::train {

/// How much of a context of `entries` a lane is kept.
struct Keep {
  double share = 0.25;  // share of the entries within reach
  int sinks = 4;        // number of first entries always kept, in layers of full attention
  int recent = 32;      // number of last entries always kept
};

/// Which entries of a layer's lanes compete.
struct Candidates {
  int64_t reach = 0;  // entries before it are seen by no later query
  int64_t begin = 0, end = 0;
};
std::vector<Candidates> candidates(const Hparams& hparams, int64_t entries, const Keep& keep);

/// Counts the candidates that are kept, over all lanes; below 0 where the entries always kept do not fit.
double candidate_budget(const Hparams& hparams, int64_t entries, const Keep& keep);

/// Returns log m [lanes][n], which is added to attention logits: m = sigmoid((s - tau) / T), with each
/// lane's tau such that its m sum to its count. scores: [lanes][n]; counts: [lanes], each in [0, n].
/// Differentiated through tau: with w = m (1 - m), d tau = (sum_j w_j d s_j - T d count) / sum_j w_j, by the
/// implicit function theorem. (A detached tau would give the counts no gradient at all.) A lane whose count
/// is n keeps everything: log m = 0, without gradient.
Tensor soft_keep(const Tensor& scores, const Tensor& counts, double temperature);

/// Returns LKV-H's counts [lanes]: budget * softmax(logits), where what passes a lane's room goes to the
/// others by their shares, as in_proportion() of evict/allocators/shares.h without rounding. They sum to
/// min(budget, sum of room).
Tensor learned_counts(const Tensor& logits, const std::vector<double>& room, double budget);

/// Returns [layer] [kv_heads, entries], the values added to attention logits. scores: [layer] [kv_heads,
/// entries]; budget_logits: [layers * kv_heads], LKV-H.
std::vector<Tensor> soft_selection(const Hparams& hparams, const std::vector<Tensor>& scores,
                                   const Tensor& budget_logits, const Keep& keep, double temperature);

}  // namespace kvedit::train
