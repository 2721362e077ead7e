// A context: a transcript and the cache that was made of it. Every edit takes one and gives one back.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/cache.h"
#include "compute/engine.h"
#include "context/transcript.h"
#include "kvedit/evict.h"

namespace kvedit {

/// How a cache was evicted last, so that it can be done again.
struct Eviction {
  std::string policy;
  Budget budget;
  uint64_t seed = 0;
};

/// Transcript and cache agree, in these words:
///   - Positions ascend, inside of the model's context. The last token is pending: it has no entry yet.
///   - Every other entry stands at the position of a token, or of a steering state, which stands for erased
///     tokens; no position has both. A lane holds all of them unless it was evicted, or is one of a
///     sliding-window layer that has freed what is out of reach.
///   - Sliding-window layers hold what is read when the text goes on at the pending token's position.
///   - The first `exact` tokens have positions 0..exact-1 and the entries that a fresh prefill would give
///     them: no steering state stands among them, and nothing was evicted.
///   - Messages begin at ascending tokens, none of them at the begin token.
struct Context {
  Context(std::shared_ptr<const Network> network, Cache cache, std::optional<Token> begin_token);

  std::shared_ptr<const Network> network;
  std::optional<Token> begin_token;  // which the model puts in front of every text
  Cache cache;
  Transcript transcript;
  int exact = 0;                                // tokens of the beginning
  bool evicted = false;                         // lanes lack entries
  Eviction eviction;                            // the last one, also where the cache was rebuilt since
  std::vector<std::vector<Token>> erased = {};  // texts whose traces may still be in the cache

  /// Copies everything but pages, which are shared until one side writes.
  Context fork() const;
  const Hparams& hparams() const { return network->hparams(); }
  /// Tells whether the text starts with the model's begin token, which belongs to no message.
  bool begun() const { return transcript.size() > 0 && begin_token == transcript.tokens[0]; }
  /// Tells whether all of it is what a fresh prefill would give.
  bool all_exact() const { return exact == transcript.size(); }

  /// Notes texts that were erased, whose traces may be left; none are where the cache was made `exact`.
  void remember(std::vector<std::vector<Token>> texts, bool exact);

  /// Makes the last token pending by removing its entry. Throws Error(no_memory), and nothing changes, where
  /// a fork shares the entry's page.
  void leave_last_pending();
  /// Frees what sliding windows no longer reach; never fails.
  void free_windows() noexcept;
  /// Throws Error(unsupported) where the text could not go on: its next queries would read what was freed.
  void require_windows(std::string_view where) const;
  /// Throws Error(context_full) unless n more tokens have a position in the model's context.
  void check_room(size_t n) const;

  /// Returns the logits after each of `tokens`, [tokens][vocabulary], as if they stood from the pending
  /// token's position on, the first being the pending one. Works on a fork.
  std::vector<float> look_ahead(Engine& engine, std::span<const Token> tokens) const;

  /// Throws Error(corrupt) that tells which line of the invariant above does not hold, and where.
  void check(std::string_view where) const;
  /// Does check() where every edit is to be checked, see checks_edits().
  void check_edit(std::string_view where) const;
};

/// Tells whether every edit checks its result: where the environment has KVEDIT_CHECK=1, and in sanitizer
/// builds unless it has KVEDIT_CHECK=0.
bool checks_edits();

}  // namespace kvedit
