// Two runtimes over one text in one process, and one function for each kind of work. The peer is measured at
// each of its settings. Repetitions are interleaved: ours, peers; peers, ours; ...
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/kvedit_runtime.h"
#include "bench/llama_peer.h"
#include "bench/memory.h"
#include "bench/row.h"
#include "kvedit/adapter.h"

namespace kvedit::bench {

struct ComparisonOptions {
  int repeat = 3;
  bool peer = true;
  int capacity = 0;  // tokens of the longest context that any row needs
  SessionOptions session = {};
  ProgressMaker progress;
};

class Comparison {
 public:
  /// Loads the peer and warms all up. Throws Error(out_of_range) when the capacity passes the model's
  /// context.
  Comparison(const std::shared_ptr<Model>& model, const ComparisonOptions& options, MemoryMeter memory);

  KveditRuntime& ours() { return *ours_; }
  /// Returns the peer at each setting; empty without a peer.
  const std::vector<std::unique_ptr<LlamaPeer>>& peers() const { return peers_; }
  int repeat() const { return options_.repeat; }
  /// Runs ours and each of the peers `repeat` times, in alternating order.
  void interleave(const std::function<void()>& ours, const std::function<void(LlamaPeer&)>& peer);
  /// Makes each runtime hold the first `tokens` tokens, after a prefill of just this length.
  void hold_measured(int tokens);
  Paired first_token_ms(int tokens) const;
  /// Notes the memory of reading `length` tokens and decoding a few; ours evicts between, if a policy is
  /// given.
  void note_memory(Row& row, int length, const std::string& policy = {}, const std::string& keep = {});
  /// Notes the share of steps after which both found the same token most likely.
  void note_agreement(Row& row, const std::vector<Token>& ours) const;

 private:
  ComparisonOptions options_;
  MemoryMeter memory_;
  std::unique_ptr<KveditRuntime> ours_;
  std::vector<std::unique_ptr<LlamaPeer>> peers_;
};

/// Measures decoding `tokens` tokens after `cached` ones. 0 counts as 1, since a decoder has to begin with a
/// token.
Row decode_row(Comparison& comparison, int cached, int tokens);
/// Measures reading `length` tokens, up to the logits after the last.
Row prefill_row(Comparison& comparison, int length);
/// Measures evicting `length` tokens with the policy, and decoding afterwards against the peer with its full
/// cache.
Row evict_row(Comparison& comparison, int length, const std::string& policy, const std::string& keep,
              int tokens);
/// Measures forking a session of `length` tokens; the peer's second sequence shares the first's cells.
Row fork_row(Comparison& comparison, int length);
/// Measures writing the state of `length` tokens to a file, and reading it back: two rows.
std::vector<Row> snapshot_rows(Comparison& comparison, int length);

/// Measures tokens a second of sessions that share the first `cached` tokens and generate together in a
/// batch.
Row batch_row(Comparison& comparison, int cached, int sessions, int tokens);
/// Measures milliseconds a token of one session while another one, of `length` tokens, is recomputed in the
/// same batch; there is no peer.
Row beside_row(Comparison& comparison, int length, int block_tokens);

/// Measures milliseconds a generated token while an upgrade runs in the background; there is no peer.
Row upgrade_row(Comparison& comparison, int length, int tokens);
/// Calls `token` at most `tokens` times and returns its values of the calls after which the work in the
/// background was still `running`.
std::vector<double> while_running(int tokens, const std::function<double()>& token,
                                  const std::function<bool()>& running);

/// Measures the peer's reading and decoding with all threads and half of them, with each polling of idle
/// workers, with and without flash attention: two rows without ours. Throws Error(invalid_argument) where
/// there is no peer.
std::vector<Row> peer_rows(Comparison& comparison, int length, int tokens);

struct EraseWork {
  int length = 0;
  int span = 0;       // tokens
  std::string depth;  // where the span begins: "10%" of the length, or a token's index
  std::shared_ptr<const Adapter> adapter =
      nullptr;  // the eraser of steer; null: one of rank 16 without effect
};
/// Returns the span to erase. Throws Error(invalid_argument, out_of_range).
Span erase_span(const EraseWork& work);
/// Measures, a row for each method, milliseconds until the logits of the next token are there. Against drop
/// and shift the peer edits its cache likewise, against all others it reads again what follows.
std::vector<Row> erase_rows(Comparison& comparison, const EraseWork& work,
                            const std::vector<std::string>& methods);

}  // namespace kvedit::bench
