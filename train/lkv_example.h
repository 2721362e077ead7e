// An example of learned eviction: a context in the cache as the engine serves it, and what the full cache
// makes of what follows.
#pragma once

#include <string>
#include <vector>

#include "session/model_impl.h"
#include "train/lkv_tasks.h"
#include "train/transformer.h"

namespace kvedit::train {

/// Scores of a scorer in evict/, as constants.
struct GivenScores {
  std::string policy;      // "laprox:window=32"; empty: none
  bool of_future = false;  // its window is what follows the context, not the context's end: an oracle
};

struct LkvExample {
  Entries entries;             // of the context but its last token, which is pending
  Batch batch;                 // that one, and the continuation but its last
  Tensor full;                 // [batch, vocabulary] log-probabilities with the full cache
  std::vector<Tensor> scores;  // [layer] [kv_heads, entries], logarithms; empty: none given
};

LkvExample read_example(ModelImpl& model, const LkvText& example, const GivenScores& given = {});

/// Mean over the rows of KL(full || softmax(logits)), in nats.
Tensor mean_kl(const Tensor& full, const Tensor& logits);

}  // namespace kvedit::train
