// An example of learned eviction: a context in the cache as the engine serves it, and the full cache's
// distributions of what follows.
#pragma once

#include <string>
#include <vector>

#include "session/model_impl.h"
#include "train/lkv_tasks.h"
#include "train/transformer.h"

namespace kvedit::train {

/// Which scores of a scorer in evict/ an example has, as constants.
struct GivenScores {
  std::string policy;      // "laprox:window=32"; empty: none
  bool of_future = false;  // its window is the text after the context, not the context's end: an oracle
};

struct LkvExample {
  Entries entries;             // entries of the context but its last token, which is pending
  Batch batch;                 // the pending token, and the continuation but its last
  Tensor full;                 // [batch, vocabulary] log-probabilities with the full cache
  std::vector<Tensor> scores;  // [layer] [kv_heads, entries], logarithms; empty: none given
};

LkvExample read_example(ModelImpl& model, const LkvText& example, const GivenScores& given = {});

/// Returns the mean over the rows of KL(full || softmax(logits)), in nats.
Tensor mean_kl(const Tensor& full, const Tensor& logits);

}  // namespace kvedit::train
