// The parts policies are made of, each told by its own file. A new scorer or allocator is its file,
// its declaration here and its row in the table, policies.cc.
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
  std::vector<PolicyParameter> parameters = {};
  std::unique_ptr<Scorer> (*make)(const Parameters&) = nullptr;  // throws Error for values that do not fit
  int sinks = 4;                                                 // the policy's defaults with this scorer
  int recent = 32;
};

struct AllocatorPart {
  std::string name;
  std::string paper;
  std::string description;
  std::vector<PolicyParameter> parameters = {};
  std::unique_ptr<Allocator> (*make)(const Parameters&) = nullptr;
};

ScorerPart random_scorer();
ScorerPart streaming_llm_scorer();
ScorerPart snapkv_scorer();

AllocatorPart uniform_allocator();
AllocatorPart adaptive_allocator();

/// The table's parts, in its order.
std::vector<ScorerPart> scorer_parts();
std::vector<AllocatorPart> allocator_parts();

}  // namespace kvedit
