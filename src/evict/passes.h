// Records of an eviction's passes, kept for further evictions of one context by other budgets, or by other
// policies that ask for the same records.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "context/transcript.h"
#include "evict/policy.h"

namespace kvedit {

class EvictPasses {
 public:
  /// Sets the context of the captures to come. If it is not the one before, by a token or a page, all that
  /// was kept goes.
  void look_at(const Cache& cache, const Transcript& transcript);
  /// Returns the captures of an earlier call with these needs, or else of `make`, which fills the cache's
  /// entry at `pending` (one position or none). The entry is filled either way. Throws as `make` does.
  Captures captures(const CaptureRequest& needs, Cache& cache, std::span<const Position> pending,
                    const Capture& make);
  /// Returns the time that passes had taken which captures() has spared since look_at().
  double spared_ms() const { return spared_ms_; }

 private:
  // A context, pinned: while its pages are held they are neither written nor given to another.
  struct Pinned {
    Cache cache;
    Transcript transcript;
  };
  struct Pass {
    CaptureRequest needs;
    Captures captures;
    std::vector<std::vector<float>> keys;  // [layer * kv_heads + head][key_dim] of the pending entry
    std::vector<std::vector<float>> values;
    double ms;
  };
  std::optional<Pinned> context_;
  std::vector<Pass> passes_;
  double spared_ms_ = 0;
};

}  // namespace kvedit
