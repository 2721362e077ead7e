// The soft selection of a whole model's entries, term by term as evict/select.cc makes the hard one.
#pragma once

#include <vector>

#include "train/lkv_tensors.h"

namespace kvedit::train {

/// What is kept of a context of `entries` a lane.
struct Keep {
  double share = 0.25;  // of the entries within reach
  int sinks = 4;        // the first, in layers of full attention
  int recent = 32;      // the last
};

/// Which entries of a layer's lanes compete.
struct Candidates {
  int64_t reach = 0;  // those before it no later query sees
  int64_t begin = 0, end = 0;
};
std::vector<Candidates> candidates(const Hparams& hparams, int64_t entries, const Keep& keep);

/// How many of the competing ones are kept, over all lanes; below 0 where not even those always kept fit.
double candidate_budget(const Hparams& hparams, int64_t entries, const Keep& keep);

/// [layer] [kv_heads, entries]: what is added to attention logits. scores: [layer] [kv_heads, entries];
/// budget_logits: [layers * kv_heads], LKV-H.
std::vector<Tensor> soft_selection(const Hparams& hparams, const std::vector<Tensor>& scores,
                                   const Tensor& budget_logits, const Keep& keep, double temperature);

}  // namespace kvedit::train
