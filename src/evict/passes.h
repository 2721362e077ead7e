// What the passes of an eviction captured, for further evictions of the same context: by another budget, or
// another policy that looks at the same.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "context/transcript.h"
#include "evict/policy.h"

namespace kvedit {

class EvictPasses {
 public:
  /// The context of the captures to come. Another than before, by a token or a page: what was kept goes.
  void look_at(const Cache& cache, const Transcript& transcript);
  /// Those of an earlier call with these needs, or what `make` makes, which fills the cache's entry at
  /// `pending` (one position or none). The entry is filled either way. Throws what `make` throws.
  Captures captures(const CaptureRequest& needs, Cache& cache, std::span<const Position> pending,
                    const Capture& make);
  /// What the passes that captures() spared since look_at() had taken.
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
