// Both sides over one text in one process, and one function a kind of work. Repetitions are
// interleaved: ours, peer; peer, ours; ...
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/llama_peer.h"
#include "bench/memory.h"
#include "bench/ours.h"
#include "bench/row.h"
#include "kvedit/adapter.h"

namespace kvedit::bench {

struct ContestOptions {
  int repeat = 3;
  bool peer = true;
  int capacity = 0;  // tokens of the longest context that any row needs
  SessionOptions session = {};
  ProgressMaker progress;
};

class Contest {
 public:
  /// Loads the peer and warms both sides up. Throws Error(out_of_range) when the capacity passes the
  /// model's context.
  Contest(const std::shared_ptr<Model>& model, const ContestOptions& options, MemoryMeter memory);

  Ours& ours() { return *ours_; }
  LlamaPeer* peer() { return peer_.get(); }
  int repeat() const { return options_.repeat; }
  /// Runs each `repeat` times, who begins alternating; the peer's only when there is one.
  void interleave(const std::function<void()>& ours, const std::function<void(LlamaPeer&)>& peer);
  Both first_token_ms(int tokens) const;
  /// The memory of reading `length` tokens and decoding a few; ours evicts between, if a policy is given.
  void note_memory(Row& row, int length, const std::string& policy = {}, const std::string& keep = {});
  /// The share of steps after which both found the same token most likely.
  void note_agreement(Row& row, const std::vector<Token>& ours) const;

 private:
  ContestOptions options_;
  MemoryMeter memory_;
  std::unique_ptr<Ours> ours_;
  std::unique_ptr<LlamaPeer> peer_;
};

/// Decoding `tokens` tokens after `cached` (0 counts as 1: a decoder has to begin with something).
Row decode_row(Contest& contest, int cached, int tokens);
/// Reading `length` tokens, up to the logits after the last.
Row prefill_row(Contest& contest, int length);
/// Decoding after evicting `length` tokens with the policy, against the peer with its full cache; what
/// evicting costs.
Row evict_row(Contest& contest, int length, const std::string& policy, const std::string& keep, int tokens);
/// Forking a session of `length` tokens; there is no peer.
Row fork_row(Contest& contest, int length);
/// Writing the state of `length` tokens to a file, and reading it back: two rows.
std::vector<Row> snapshot_rows(Contest& contest, int length);

/// Milliseconds of a generated token while an upgrade runs in the background; there is no peer.
Row upgrade_row(Contest& contest, int length, int tokens);

struct EraseWords {
  int length = 0;
  int span = 0;       // tokens
  std::string depth;  // where the span begins: "10%" of the length, or a token's index
  std::shared_ptr<const Adapter> adapter = nullptr;  // of steer; null: one of rank 16 without effect
};
/// The span that the words mean. Throws Error(invalid_argument, out_of_range).
Span erase_span(const EraseWords& words);
/// A row for each method, each against the peer reading again what is left.
std::vector<Row> erase_rows(Contest& contest, const EraseWords& words,
                            const std::vector<std::string>& methods);

}  // namespace kvedit::bench
