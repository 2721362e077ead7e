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
  Entries around;   // the same as it stands once gaps in it are closed; empty: as before
  Entries behind;   // after it
  Entries stale;    // of what was asked before the erase, each entry its question's
  Batch span;       // all erased tokens
  Tensor kept;      // [k] int64: of the span's tokens, those whose steering states stay; undefined: all
  Tensor shift;     // [k] int64, on the CPU: by so many positions they move
  Entries held;     // bias alone: -inf where a lane had evicted a span's entry; empty: nothing was evicted
  Batch questions;  // what is read after the erase, all questions
  Tensor rows;      // [m] int64, of the batch: those compared
  Tensor teacher;   // [m, vocabulary] f32 log-probabilities of the exact cache
  Tensor probe;     // [m] int64: the row's probe
  std::vector<std::string> kinds;  // [probes]
};

/// Sessions of `model`, which serves `weights`, for an eraser of which so many steering states of a span stay
/// (0: all). Throws what Session does.
Example make_example(const std::shared_ptr<Model>& model, const Weights& weights, const Context& context,
                     int steering_states);

/// Mean KL(exact || this) of each probe [probes], differentiable in `lora`. No lora: the spans' entries are
/// left out, as `drop` does (if all states stay).
Tensor divergences(const Weights& weights, const Example& example, const LoraTensors* lora,
                   bool checkpoint = false);

/// The same of an erase method of the engine: "drop", "shift", "repair", "steer" (with the adapter), or
/// "none".
std::vector<double> served_divergences(const std::shared_ptr<Model>& model, const Context& context,
                                       const std::string& method,
                                       const std::shared_ptr<const Adapter>& adapter = nullptr);

}  // namespace kvedit::train
