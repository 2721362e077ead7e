// Forward passes of a network over caches: a batch of runs, in blocks, on ggml graphs.
//
// Contract: the caller makes room first - append(), insert() or overwrite() on each run's cache - and
// the pass puts keys and values in place layer by layer, then attends ("write, then attend"). When a
// pass throws, entries of its positions are undefined: the caller rolls back or drops its fork. Of a
// run's read-only tokens nothing is stored and no room is needed: they attend to the entries as they stand.
// One thread at a time uses an engine; it has worker threads of its own.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cache/cache.h"
#include "compute/captures.h"
#include "kvedit/types.h"
#include "model/adapter/lora.h"
#include "model/network.h"

namespace kvedit {

enum class Logits { none, last, all };

struct Run {
  Cache* cache = nullptr;
  std::span<const Token> tokens;
  std::span<const Position> positions;  // [tokens], ascending; the cache has entries for them
  Logits logits = Logits::none;
  Captures* captures = nullptr;  // receives what `record` asks for; null: nothing is recorded
  int read_only = 0;  // of the first tokens: these store nothing, for captures from a cache as it is
  std::shared_ptr<const Lora> adapter = nullptr;  // on top of the weights, for this run's tokens alone
  CaptureRequest record = {};
};

class Forwarding;   // compute/forwarding.h
class CancelScope;  // base/cancel.h

class Engine {
 public:
  Engine(std::shared_ptr<const Network> network, int threads, LinearKernel linear, int block_tokens);
  /// Forwards nothing itself: relay() sees to it that some tokens of what it is given are forwarded, in a
  /// batch for instance. It may throw.
  using Relay = std::function<void(Forwarding&)>;
  Engine(std::shared_ptr<const Network> network, int block_tokens, Relay relay);
  ~Engine();

  /// Forwards the runs and returns the logits of each: [wanted tokens][vocabulary]. progress: after each
  /// block. Throws Error(cancelled), also between two graph nodes where this thread's CancelScope is
  /// requested; Error(out_of_range) for a token outside the vocabulary, Error(invalid_argument) for another
  /// model's adapter, Error(no_memory).
  std::vector<std::vector<float>> forward(std::span<const Run> runs, const Progress& progress = {});

  /// The next tokens of a forwarding, some at least.
  struct Share {
    Forwarding* forwarding;
    size_t tokens;
  };
  /// Forwards one block made of all the shares. Throws Error(cancelled) when one of the scopes is requested,
  /// Error(no_memory); then none of the forwardings is further, and the block can be tried again unless one
  /// of them records().
  void forward_block(std::span<const Share> shares, std::span<const CancelScope* const> scopes = {});

  const Network& network() const;
  bool relays() const;
  int block_tokens() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kvedit
