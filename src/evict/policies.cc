// The table of scorers, allocators and named policies, and the reading of a policy's text.
#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/check.h"
#include "evict/parts.h"

namespace kvedit {

std::vector<ScorerPart> scorer_parts() { return {random_scorer(), streaming_llm_scorer(), snapkv_scorer()}; }

std::vector<AllocatorPart> allocator_parts() { return {uniform_allocator(), adaptive_allocator()}; }

namespace {

struct NamedPolicy {
  std::string_view name, scorer, allocator, paper, description;
};

constexpr NamedPolicy kPolicies[] = {
    {"random", "random", "uniform", "", "Lots: the baseline that every policy must beat."},
    {"streaming-llm", "streaming-llm", "uniform", "arXiv 2309.17453",
     "The first and the most recent entries, the same in every lane."},
    {"snapkv", "snapkv", "uniform", "arXiv 2404.14469",
     "What the last queries attend to, pooled so that neighbours stay together; the same number a lane."},
    {"ada-snapkv", "snapkv", "adaptive", "arXiv 2407.11550",
     "SnapKV's scores; heads whose attention is spread get more of their layer's budget."},
};

template <typename Part>
const Part* find(const std::vector<Part>& parts, std::string_view name) {
  const auto found =
      std::find_if(parts.begin(), parts.end(), [&](const Part& part) { return part.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

template <typename Parts>
std::string names(const Parts& parts) {
  std::string list;
  for (const auto& part : parts) list.append(list.empty() ? "" : ", ").append(part.name);
  return list;
}

[[noreturn]] void unknown(std::string_view what) {
  fail(ErrorCode::not_found, "evict", "no policy \"", what, "\"; named: ", names(kPolicies),
       "; or scorer+allocator, of ", names(scorer_parts()), " and ", names(allocator_parts()));
}

struct Recipe {
  ScorerPart scorer;
  AllocatorPart allocator;
};

Recipe recipe(std::string_view name) {
  std::string_view scorer, allocator;
  const size_t plus = name.find('+');
  if (plus != std::string_view::npos) {
    scorer = name.substr(0, plus);
    allocator = name.substr(plus + 1);
  } else {
    for (const NamedPolicy& policy : kPolicies) {
      if (policy.name == name) std::tie(scorer, allocator) = std::pair(policy.scorer, policy.allocator);
    }
  }
  const auto scorers = scorer_parts();
  const auto allocators = allocator_parts();
  const ScorerPart* scores = find(scorers, scorer);
  const AllocatorPart* allocates = find(allocators, allocator);
  if (!scores || !allocates) unknown(name);
  return {*scores, *allocates};
}

Parameters declared(const Recipe& recipe) {
  constexpr double kMost = 1 << 24;
  Parameters parameters;
  parameters.declare(recipe.scorer.parameters);
  parameters.declare(recipe.allocator.parameters);
  parameters.declare({{.name = "sinks",
                       .value = static_cast<double>(recipe.scorer.sinks),
                       .description = "first entries of every lane of a full-attention layer, always kept",
                       .maximum = kMost},
                      {.name = "recent",
                       .value = static_cast<double>(recipe.scorer.recent),
                       .description = "last entries of every lane, always kept; at least the window",
                       .maximum = kMost}});
  return parameters;
}

// "key=value,key=value"
void read_parameters(std::string_view text, Parameters& parameters) {
  std::set<std::string_view> given;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
      fail(ErrorCode::invalid_argument, "evict", "\"", item, "\" is not key=value");
    }
    const std::string_view key = item.substr(0, equals);
    parameters.set(key, item.substr(equals + 1));
    if (!given.insert(key).second) fail(ErrorCode::invalid_argument, "evict", key, " is given twice");
    if (comma == std::string_view::npos) return;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

Policy make_policy(std::string_view text) {
  const size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const Recipe parts = recipe(name);
  Parameters parameters = declared(parts);
  if (colon != std::string_view::npos) read_parameters(text.substr(colon + 1), parameters);

  Policy policy;
  policy.scorer = parts.scorer.make(parameters);
  policy.allocator = parts.allocator.make(parameters);
  // What the window's own queries saw of the window is cut off by causality, so it cannot compete.
  const int recent = std::max(parameters.integer("recent"), policy.scorer->needs().window_queries);
  parameters.set("recent", std::to_string(recent));
  policy.sinks = parameters.integer("sinks");
  policy.recent = recent;
  policy.name = name;
  char separator = ':';
  for (const PolicyParameter& parameter : parameters.all()) {
    policy.name += separator + parameter.name + "=" + parameters.text(parameter.name);
    separator = ',';
  }
  return policy;
}

std::vector<PolicyInfo> policies() {
  std::vector<PolicyInfo> infos;
  for (const NamedPolicy& policy : kPolicies) {
    infos.push_back({.name = std::string(policy.name),
                     .definition = cat(policy.scorer, "+", policy.allocator),
                     .paper = std::string(policy.paper),
                     .description = std::string(policy.description),
                     .parameters = declared(recipe(policy.name)).all()});
  }
  return infos;
}

}  // namespace kvedit
