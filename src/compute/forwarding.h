// Runs on their way through an engine. Blocks of several of them may share a pass.
#pragma once

#include <span>
#include <vector>

#include "compute/engine.h"

namespace kvedit {

struct Piece;  // compute/pass.h

class Forwarding {
 public:
  /// Throws as Engine::forward() for runs that no engine of this network takes; the runs' captures are made
  /// ready. runs: for as long as it lives.
  Forwarding(const Network& network, std::span<const Run> runs);

  size_t total() const { return total_; }  // tokens
  size_t done() const { return done_; }
  size_t left() const { return total_ - done_; }
  bool records() const { return records_; }  // into captures: a block cannot be done twice
  std::span<const Run> runs() const { return runs_; }

  /// Appends the next `tokens` (at most left()) to a block, at rows from `row` on.
  void next(size_t tokens, int row, std::vector<Piece>& block) const;
  /// Takes the rows of logits that a piece of the block has made, and returns how many.
  size_t take(const Piece& piece, const float* rows, size_t vocabulary);
  /// Notes that the next tokens have been forwarded.
  void advance(size_t tokens);
  /// Hands over the logits of each run: [wanted tokens][vocabulary].
  std::vector<std::vector<float>> logits() && { return std::move(logits_); }

 private:
  std::span<const Run> runs_;
  size_t total_ = 0, done_ = 0;
  size_t run_ = 0, token_ = 0;  // the next one
  bool records_ = false;
  std::vector<std::vector<float>> logits_;
};

/// Tells how many rows of logits a piece has.
size_t wanted_rows(const Piece& piece);

}  // namespace kvedit
