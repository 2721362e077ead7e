// A context made ready for gradients: what the served engine leaves in the cache, as constants, and the exact
// cache's next-token distributions. All of it comes from sessions, so that training sees what serving makes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kvedit/session.h"
#include "train/contexts.h"
#include "train/transformer.h"

namespace kvedit::train {

struct Example {
  Entries before;   // of the cache, up to the end of the last erased span, without the spans
  Entries behind;   // after it
  Entries stale;    // of what was asked before the erase, each entry its question's
  Batch span;       // all erased tokens
  Entries held;     // bias alone: -inf where a lane had evicted a span's entry; empty: nothing was evicted
  Batch asked;      // what is read after the erase, all questions
  Tensor rows;      // [m] int64, of the batch: those compared
  Tensor teacher;   // [m, vocabulary] f32 log-probabilities of the exact cache
  Tensor question;  // [m] int64: the row's ask
  std::vector<std::string> kinds;  // [asks]
};

/// Sessions of `model`, which serves `weights`. Throws what Session does.
Example make_example(const std::shared_ptr<Model>& model, const Weights& weights, const Context& context);

/// Mean KL(exact || this) of each ask [asks], differentiable in `lora`. No lora: the spans' entries are left
/// out, as `drop` does.
Tensor divergences(const Weights& weights, const Example& example, const LoraTensors* lora,
                   bool checkpoint = false);

/// The same of an erase method of the engine: "drop", "shift", "repair", "steer" (with the adapter), or
/// "none".
std::vector<double> served_divergences(const std::shared_ptr<Model>& model, const Context& context,
                                       const std::string& method,
                                       const std::shared_ptr<const Adapter>& adapter = nullptr);

}  // namespace kvedit::train
