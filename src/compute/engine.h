// Forward passes of a network over caches: a batch of runs, in blocks, on ggml graphs.
//
// Contract: the caller makes room first - append(), insert() or overwrite() on each run's cache - and
// the pass puts keys and values in place layer by layer, then attends ("write, then attend"). When a
// pass throws, entries of its positions are undefined: the caller rolls back or drops its fork. Of a
// run's read-only tokens nothing is stored and no room is needed: they attend to the entries as they stand.
// One thread at a time uses an engine; it has worker threads of its own.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "cache/cache.h"
#include "kvedit/types.h"
#include "model/lora.h"
#include "model/network.h"

namespace kvedit {

/// What a pass keeps for scorers, only when asked.
struct Captures {
  int window = 0;  // asked: queries (and norms) of the last `window` tokens of the run
  bool attention_mass = false;
  bool output_norms = false;
  bool similarity = false;
  bool query_statistics = false;
  Position first_counted = 0;  // query statistics leave out tokens before this position

  int tokens = 0;  // of the window, really seen: min(window, run)
  // [layer], each [tokens][heads][key_dim], after RoPE, times attention_scale
  std::vector<std::vector<float>> queries;
  std::vector<float> norms;         // [layer][tokens] L2 norm of the attention block's output
  std::vector<float> similarities;  // [layer][tokens] cosine of the hidden state before and after attention
  std::vector<std::vector<float>> mass;  // [layer * kv_heads + head][entries]: sum over the run's queries
                                         // and the group's heads of the attention weights
  // Over the queries before RoPE and without attention_scale, after the norm of heads. Moments are about the
  // mean, so that floats hold a covariance that is small beside it.
  int counted = 0;                                // tokens
  std::vector<std::vector<double>> query_means;   // [layer], each [heads][key_dim]
  std::vector<std::vector<float>> query_moments;  // [layer], each [heads][triangle(key_dim)]: the sum of
                                                  // (q - mean) (q - mean)^T, columns <= row, packed

  /// What has served: queries, statistics and mass of one layer.
  void free_layer(int layer, int kv_heads);
};

/// Elements of the lower triangle of a matrix [n][n].
constexpr size_t triangle(size_t n) { return n * (n + 1) / 2; }

enum class Logits { none, last, all };

struct Run {
  Cache* cache = nullptr;
  std::span<const Token> tokens;
  std::span<const Position> positions;  // [tokens], ascending; the cache has entries for them
  Logits logits = Logits::none;
  Captures* captures = nullptr;
  int read_only = 0;  // of the first so many tokens nothing is stored: for captures from a cache as it is
  std::shared_ptr<const Lora> adapter = nullptr;  // on top of the weights, for this run's tokens alone
};

struct PassOptions {
  Progress progress;     // after each block
  std::stop_token stop;  // looked at between graph nodes
};

class Engine {
 public:
  Engine(std::shared_ptr<const Network> network, int threads, LinearKernel linear, int block_tokens);
  ~Engine();

  /// Logits of each run: [wanted tokens][vocabulary]. Throws Error(cancelled), Error(out_of_range) for a
  /// token outside the vocabulary, Error(invalid_argument) for another model's adapter, Error(no_memory).
  std::vector<std::vector<float>> forward(std::span<const Run> runs, const PassOptions& options = {});

  const Network& network() const;
  int threads() const;
  int block_tokens() const;
  size_t buffer_bytes() const;  // of activations

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kvedit
