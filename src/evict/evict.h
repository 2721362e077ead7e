// Evicting a context: a policy looks at it, in passes over its last tokens where it needs that, and chooses
// the entries that stay.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "context/context.h"
#include "evict/policy.h"
#include "kvedit/evict.h"

namespace kvedit {

/// Hands out an engine of the context's network; asked only by policies that forward tokens.
using EngineSource = std::function<Engine&()>;

/// Evicts the context in place and notes how in Context::eviction. Throws Error(unsupported) where
/// sliding-window layers no longer hold what the policy's passes read, and as choosing and keeping entries
/// do; the context stays as it was then.
EvictReport evict(Context& context, const Policy& policy, const Budget& budget, const EvictOptions& options,
                  int threads, const EngineSource& engine);

/// Counts the last `positions` (ascending, the context's) that every lane holds without a gap: an evicted
/// cache has lost what earlier tokens saw, so that only these can be forwarded again as they were.
int held_tail(const Cache& cache, std::span<const Position> positions);

/// Tells whether a policy forwards no more tokens again than sliding windows leave readable.
bool within_windows(const Policy& policy);

}  // namespace kvedit
