// A context made ready for gradients: the entries that the served engine leaves in the cache, as constants,
// and the exact cache's next-token distributions. All come from sessions, so that training sees what serving
// makes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kvedit/session.h"
#include "train/contexts.h"
#include "train/transformer.h"

namespace kvedit::train {

struct Example {
  Entries before;   // entries up to the end of the last erased span, without the spans
  Entries around;   // `before` once its gaps are closed; empty: equal to it
  Entries behind;   // entries after that
  Entries stale;    // entries read before the erase, each owned by its probe
  Batch span;       // all erased tokens
  Tensor kept;      // [k] int64, indices of the span's tokens whose steering states stay; undefined: all
  Tensor shift;     // [k] int64, on the CPU: positions that they move down
  Entries held;     // biases alone: -inf where a lane had evicted a span's entry; empty: none had
  Batch questions;  // tokens read after the erase, of all probes
  Tensor rows;      // [m] int64, indices of the batch that are compared
  Tensor teacher;   // [m, vocabulary] f32 log-probabilities of the exact cache
  Tensor probe;     // [m] int64, the probe of each row
  std::vector<std::string> kinds;  // [probes]
};

/// Prepares a context with sessions of `model`, which serves `weights`. steering_states: how many of a
/// span's steering states the eraser keeps, 0: all. Throws what Session does.
Example make_example(const std::shared_ptr<Model>& model, const Weights& weights, const Context& context,
                     int steering_states);

/// Returns the mean KL(exact || this) of each probe [probes], differentiable in `lora`. Without lora the
/// spans' entries are left out, as `drop` does (if all states stay).
Tensor divergences(const Weights& weights, const Example& example, const LoraTensors* lora,
                   bool checkpoint = false);

/// Returns the same figures for an erase method of the engine: "drop", "shift", "repair", "steer" (with the
/// adapter), or "none".
std::vector<double> served_divergences(const std::shared_ptr<Model>& model, const Context& context,
                                       const std::string& method,
                                       const std::shared_ptr<const Adapter>& adapter = nullptr);

}  // namespace kvedit::train
