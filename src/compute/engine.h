// Forward passes of a network over caches: a batch of runs, in blocks, on ggml graphs.
//
// Contract: the caller makes room first - append(), insert() or overwrite() on each run's cache - and
// the pass puts keys and values in place layer by layer, then attends ("write, then attend"). When a
// pass throws, entries of its positions are undefined: the caller rolls back or drops its fork.
// One thread at a time uses an engine; it has worker threads of its own.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "cache/cache.h"
#include "kvedit/model.h"
#include "model/network.h"

namespace kvedit {

/// What a pass keeps for scorers, only when asked.
struct Captures {
  int window = 0;  // asked: queries (and norms) of the last `window` tokens of the run
  bool attention_mass = false;
  bool output_norms = false;

  int tokens = 0;                        // of the window, really seen: min(window, run)
  std::vector<float> queries;            // [layer][tokens][heads][key_dim], after RoPE, times attention_scale
  std::vector<float> norms;              // [layer][tokens] L2 norm of the attention block's output
  std::vector<std::vector<float>> mass;  // [layer * kv_heads + head][entries]: sum over the run's queries
                                         // and the group's heads of the attention weights
};

enum class Logits { none, last, all };

struct Run {
  Cache* cache = nullptr;
  std::span<const Token> tokens;
  std::span<const Position> positions;  // [tokens], ascending; the cache has entries for them
  Logits logits = Logits::none;
  Captures* captures = nullptr;
};

struct PassOptions {
  Progress progress;                          // after each block
  const std::atomic<bool>* cancel = nullptr;  // looked at between graph nodes
};

class Engine {
 public:
  Engine(std::shared_ptr<const Network> network, int threads, LinearKernel linear, int block_tokens);
  ~Engine();

  /// Logits of each run: [wanted tokens][vocabulary]. Throws Error(cancelled), Error(out_of_range) for a
  /// token outside the vocabulary, Error(no_memory).
  std::vector<std::vector<float>> forward(std::span<const Run> runs, const PassOptions& options = {});

  const Network& network() const;
  int threads() const;
  size_t buffer_bytes() const;  // of activations

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kvedit
