// Erase methods: each changes a fork of the session's cache and transcript; the session swaps the
// result in when all has succeeded. A method is one file and one line in the table (methods.cc).
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "cache/cache.h"
#include "compute/engine.h"
#include "kvedit/erase.h"

namespace kvedit {

/// Tokens and their positions, ascending. The last one is pending: not in the cache yet.
struct Transcript {
  std::vector<Token> tokens;
  std::vector<Position> positions;
  int exact = 0;  // the first so many tokens have the entries that a fresh prefill would give
  int size() const { return static_cast<int>(tokens.size()); }
  void cut(Span span);  // removes tokens; positions stay
};

/// What a method works on: forks, so that it may fail at any point.
struct EraseWork {
  Cache& cache;
  Transcript& transcript;
  std::span<const Span> spans;  // transcript indices, ascending, disjoint, not empty, not everything
  const EraseOptions& options;
  Engine& engine;
  bool evicted = false;  // lanes lack entries
  // set by the method
  int tokens_recomputed = 0;
  double forward_ms = 0;
};

class EraseMethod {
 public:
  virtual ~EraseMethod() = default;
  virtual EraseMethodInfo info() const = 0;
  virtual bool changes_positions() const = 0;
  /// Whether the result on an evicted cache is an unevicted one, so that the policy is applied again.
  virtual bool rebuilds() const { return false; }
  virtual void apply(EraseWork& work) const = 0;
};

/// Throws Error(not_found) naming the methods there are.
const EraseMethod& find_erase_method(std::string_view name);

// Steps that methods share.

/// Removes the spans from transcript and cache; the gap in the positions stays.
void remove_spans(EraseWork& work);
/// Removes the spans and moves what follows down, keys turned; returns where each span stood, in
/// indices of the transcript that is left.
std::vector<int> remove_and_shift(EraseWork& work);
/// Forwards transcript tokens again at their positions; on an evicted cache they all see each other,
/// and each lane keeps those it held.
void forward_again(EraseWork& work, Span tokens);

}  // namespace kvedit
