// The parts policies are made of, each told by its own file. A new scorer, allocator or combinator is its
// file, its declaration here and its row in the table, policies.cc.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evict/policy.h"

namespace kvedit {

struct ScorerPart {
  std::string name;
  std::string paper;        // "arXiv 2404.14469", or empty
  std::string description;  // one sentence
  std::vector<Parameter> parameters = {};
  std::unique_ptr<Scorer> (*make)(const Parameters&) = nullptr;  // throws Error for values that do not fit
  int sinks = 4;                                                 // the policy's defaults with this scorer
  int recent = 32;
};

struct AllocatorPart {
  std::string name;
  std::string paper;
  std::string description;
  std::vector<Parameter> parameters = {};
  std::unique_ptr<Allocator> (*make)(const Parameters&) = nullptr;
};

struct CombinatorPart {
  std::string name;
  std::string paper;
  std::string description;
  std::vector<Parameter> parameters = {};
  size_t bases = 1;  // policies inside its parentheses
  /// Throws Error for bases it cannot combine.
  std::unique_ptr<Selector> (*make)(const Parameters&,
                                    std::vector<std::unique_ptr<Selector>> bases) = nullptr;
};

/// A row of the table: a name for a policy's text.
struct NamedPolicy {
  std::string_view name, definition, paper, description;
};

ScorerPart random_scorer();
ScorerPart streaming_llm_scorer();
ScorerPart snapkv_scorer();
ScorerPart k_norm_scorer();
ScorerPart keydiff_scorer();
ScorerPart tova_scorer();
ScorerPart h2o_scorer();
ScorerPart expected_attention_scorer();
ScorerPart caote_scorer();
ScorerPart dropkv_scorer();
ScorerPart obcache_scorer();
ScorerPart lava_scorer();
ScorerPart sage_scorer();
ScorerPart laprox_scorer();
ScorerPart laprox_joint_scorer();
ScorerPart lkv_scorer();

AllocatorPart uniform_allocator();
AllocatorPart adaptive_allocator();
AllocatorPart entropy_allocator();
AllocatorPart pyramid_allocator();
AllocatorPart global_allocator();
AllocatorPart learned_allocator();

CombinatorPart critical_combinator();
CombinatorPart mix_combinator();
CombinatorPart squeeze_combinator();

/// Makes a selector of a scorer and an allocator.
std::unique_ptr<Selector> scored(std::unique_ptr<Scorer> scorer, std::unique_ptr<Allocator> allocator);

// The table, in its order.
std::vector<ScorerPart> scorer_parts();
std::vector<AllocatorPart> allocator_parts();
std::vector<CombinatorPart> combinator_parts();
std::span<const NamedPolicy> named_policies();

}  // namespace kvedit
