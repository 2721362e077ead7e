// Evicting a session's cache to a budget: what can be asked and what is reported. A policy is named
// in a table (policies()), or made of any parts as "scorer+allocator" or "combinator(policy;...)", with
// parameters by name: "snapkv", "snapkv:window=32,kernel=7", "snapkv+adaptive", "critical(snapkv):first=0.5".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

/// How much to keep, of the entries that attention can still reach, averaged over all lanes.
struct Budget {
  enum class Kind { fraction, tokens, bytes };
  Kind kind = Kind::fraction;
  double amount = 1.0;  // fraction in (0, 1], tokens a lane, or bytes of the whole cache

  static Budget fraction(double f) { return {Kind::fraction, f}; }
  static Budget tokens(int n) { return {Kind::tokens, static_cast<double>(n)}; }
  static Budget bytes(size_t n) { return {Kind::bytes, static_cast<double>(n)}; }
  /// "25%", "512" (a whole number: tokens a lane), "64MiB" (KiB, MiB, GiB of 1024; kB, MB, GB of 1000).
  /// Throws Error(invalid_argument) quoting the text, Error(out_of_range) for 0 or more than 100 %.
  static Budget parse(std::string_view text);
};

/// Keeps what evictions capture in passes over a context for further ones: evictions of forks of one session
/// that share it read the context again once for a policy, not for each budget. It pins the pages of the last
/// context it saw; another context (a token, an entry) makes it begin anew. For one thread at a time.
class EvictPasses;
std::shared_ptr<EvictPasses> make_evict_passes();

struct EvictOptions {
  uint64_t seed = 0;                              // of policies that draw lots
  bool undo = false;                              // keep the pages for undo(); they stay pinned then
  Progress progress;                              // of the layers scored
  std::shared_ptr<EvictPasses> passes = nullptr;  // shared with other evictions; null: nothing is kept
  Cancel cancel = {};
};

struct LaneShare {
  int layer = 0;
  int head = 0;
  int entries_before = 0;
  int entries_after = 0;
};

struct EvictReport {
  std::string policy;  // as resolved, with all parameters
  double keep = 0;     // entries kept / entries before
  size_t entries_before = 0;
  size_t entries_after = 0;
  size_t bytes_before = 0;  // of this session's cache, whole pages
  size_t bytes_after = 0;
  size_t pinned_bytes = 0;  // held by forks and undo history of the pages that went
  int lane_min = 0;         // entries of a lane afterwards
  int lane_median = 0;
  int lane_max = 0;
  double score_ms = 0;
  double spared_ms = 0;  // time saved by passes that EvictOptions::passes held already
  double compact_ms = 0;
  std::vector<LaneShare> lanes;  // [layer * kv_heads + head]
};

struct PolicyInfo {
  std::string name;
  std::string definition;   // "snapkv+adaptive", which makes the same policy
  std::string paper;        // "arXiv 2404.14469"
  std::string description;  // one sentence
  std::vector<Parameter> parameters;
  bool needs_file() const;  // trained for the model, by a parameter that has no default
};

/// All named policies, in the order of their table.
std::vector<PolicyInfo> policies();

/// A part that policies are made of: "scorer+allocator", "combinator(policy;...)".
struct PolicyPart {
  enum class Kind { scorer, allocator, combinator };
  Kind kind = Kind::scorer;
  std::string name;
  std::string paper;        // "arXiv 2404.14469", or empty
  std::string description;  // one sentence
  std::vector<Parameter> parameters;
  int sinks = 0;     // a scorer's: first entries of every lane that policies with it always keep by default
  int recent = 0;    // a scorer's: last ones
  int policies = 0;  // a combinator's: in its parentheses
};

/// All parts, in the order of their tables: scorers, allocators, combinators.
std::vector<PolicyPart> policy_parts();

}  // namespace kvedit
