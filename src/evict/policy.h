// Eviction policies as values: a policy maps views of the layers and a budget to the kept entries of
// each lane. Most are a scorer and an allocator; combinators make the rest of these. None holds state; a
// scorer declares what it needs, so that a forward pass captures only that.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/cache.h"
#include "compute/engine.h"
#include "evict/entry_set.h"
#include "kvedit/evict.h"
#include "model/network.h"
#include "tools/parameters.h"

namespace kvedit {

/// Makes a pass over the context's last tokens and returns its record; makes none where nothing is asked for.
using Capture = std::function<Captures(const CaptureRequest&)>;

struct LayerView {
  int layer = 0;
  const Cache& cache;
  const Network& network;
  const Captures& captures;  // filled as CaptureRequest asked, at least for this layer
  uint64_t seed = 0;
  std::span<const Position> window_positions = {};  // [captures.tokens], of the captured queries
  int pending = 0;  // last entries of every lane that are there for their queries alone
  /// Returns the entry before which all are out of reach of every query to come: outside the sliding window.
  int first_reachable(int head) const;
};

/// Scores of one layer, [kv_head][entries of the lane]; higher = keep. Those of unreachable entries
/// are never looked at.
using LayerScores = std::vector<std::vector<float>>;

class Scoring;  // scoring.h

class Scorer {
 public:
  virtual ~Scorer() = default;
  virtual CaptureRequest needs() const { return {}; }
  /// Throws Error(invalid_argument) where the scorer was made from a file of another model.
  virtual void check(const Network& /*network*/) const {}
  virtual LayerScores score(const LayerView& view) const = 0;
};

/// A lane as an allocator sees it: only the entries that compete; sinks, recent and unreachable ones
/// are settled before. Lanes stand in order of layer, then head.
struct Candidates {
  int layer = 0;
  int head = 0;
  std::vector<float> scores;  // no NaN
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  /// Throws as Scorer::check.
  virtual void check(const Network& /*network*/) const {}
  /// Returns how many of each lane's candidates to keep: min(budget, all candidates) in all, each within its
  /// lane. Ties are settled by layer, head, then position.
  virtual std::vector<int> allocate(std::span<const Candidates> lanes, int kv_heads, size_t budget) const = 0;
};

/// The entries of a lane that compete.
struct Contestants {
  int layer = 0;
  int head = 0;
  EntrySet entries;
};

/// The lanes that a selector chooses from: whole layers in order. Combinators make smaller ones of it.
struct Contest {
  Scoring& scoring;
  std::vector<Contestants> lanes;

  size_t size() const;  // entries, over all lanes
  /// Returns the scorer's scores [lanes], as Scoring::candidates.
  std::span<const Candidates> candidates(const Scorer& scorer) const;
};

/// The entries chosen, [lane of the contest].
using Picks = std::vector<EntrySet>;

/// A way to spend a budget: a scorer and an allocator, or a combinator of selectors.
class Selector {
 public:
  virtual ~Selector() = default;
  virtual CaptureRequest needs() const = 0;
  virtual void check(const Network& network) const = 0;
  /// Returns the scorer that ranks the entries of a lane; null where there are several.
  virtual const Scorer* scorer() const = 0;
  virtual int scorers() const = 0;  // how many it asks
  /// Picks min(budget, contest.size()) entries.
  virtual Picks select(const Contest& contest, size_t budget) const = 0;
};

/// A policy ready to run.
struct Policy {
  std::string name;    // as resolved: "snapkv:window=32,kernel=7,pool=avg,sinks=4,recent=32"
  std::string recipe;  // the same, without the companion file that was found for it
  std::unique_ptr<const Selector> selector;
  const Scorer* scorer = nullptr;  // the selector's
  int sinks = 0;                   // the first entries of the lanes of full-attention layers, always kept
  int recent = 0;  // the last entries of every lane, always kept; at least needs().window_queries

  CaptureRequest needs() const { return selector->needs(); }
};

/// Returns the policy's text without the files that its parameters name: paths of another machine mean
/// nothing here, and a snapshot must not choose what is opened. Throws like make_policy() for what is no
/// policy.
std::string without_files(std::string_view text);

/// Throws Error(out_of_range) for what is no amount: a fraction outside 0..1, nothing, no number.
void check_budget(const Budget& budget);

/// Reads "name", "scorer+allocator" or "combinator(policy;...)", each with ":key=value,..." behind it; a
/// policy inside parentheses may be any of these. lkv_file: finds the file of a model for parts of LKV that
/// name none. Throws Error(not_found) listing the names.
Policy make_policy(std::string_view text, const std::function<std::string()>& lkv_file = {});

/// Returns the entries of each lane to keep, [layer * kv_heads + head], ascending.
///
/// A budget that the cache meets as it stands (100 %, or no fewer tokens or bytes than it has) keeps
/// everything. Otherwise unreachable entries go first and do not count; sinks and recent entries stay;
/// the rest compete for what is left. A budget of bytes sets a rounding up of every lane to whole pages
/// aside, so the packed pages never pass it. `capture` is called for each scorer that needs something, or
/// once for several that share. positions: of the context's last tokens, as many as a pass may capture
/// queries of. The last `pending` entries of every lane, of tokens that will be forwarded again, are neither
/// counted nor in the result. Throws Error(out_of_range) naming both numbers when the budget is below what is
/// always kept, Error(cancelled).
std::vector<std::vector<int>> choose_entries(const Policy& policy, const Cache& cache, const Network& network,
                                             const Capture& capture, std::span<const Position> positions,
                                             const Budget& budget, const EvictOptions& options,
                                             int threads = 1, int pending = 0);

}  // namespace kvedit
