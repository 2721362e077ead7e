// The table of scorers, allocators, combinators and named policies.
#include <algorithm>
#include <string>

#include "evict/parts.h"
#include "evict/recipe.h"

namespace kvedit {

std::vector<ScorerPart> scorer_parts() {
  return {random_scorer(),
          streaming_llm_scorer(),
          snapkv_scorer(),
          laprox_scorer(),
          laprox_joint_scorer(),
          lkv_scorer(),
          k_norm_scorer(),
          keydiff_scorer(),
          tova_scorer(),
          h2o_scorer(),
          expected_attention_scorer(),
          caote_scorer(),
          dropkv_scorer(),
          obcache_scorer(),
          lava_scorer(),
          sage_scorer()};
}

std::vector<AllocatorPart> allocator_parts() {
  return {uniform_allocator(), adaptive_allocator(), entropy_allocator(),
          pyramid_allocator(), global_allocator(),   learned_allocator()};
}

std::vector<CombinatorPart> combinator_parts() {
  return {critical_combinator(), mix_combinator(), squeeze_combinator()};
}

std::span<const NamedPolicy> named_policies() {
  static constexpr NamedPolicy kPolicies[] = {
      {"random", "random+uniform", "", "Lots: the baseline that every policy must beat."},
      {"streaming-llm", "streaming-llm+uniform", "arXiv 2309.17453",
       "The first and the most recent entries, the same in every lane."},
      {"snapkv", "snapkv+uniform", "arXiv 2404.14469",
       "What the last queries attend to, pooled so that neighbours stay together; the same number a lane."},
      {"ada-snapkv", "snapkv+adaptive", "arXiv 2407.11550",
       "SnapKV's scores; heads whose attention is spread get more of their layer's budget."},
      {"k-norm", "k-norm+uniform", "arXiv 2406.11430", "Keys with small norms; the same number a lane."},
      {"keydiff", "keydiff+uniform", "arXiv 2504.15364", "Keys least like the others of their lane."},
      {"tova", "tova+uniform", "arXiv 2401.06104",
       "What the last query attends to, mean over a layer's heads; no sinks and no window."},
      {"h2o", "h2o+uniform", "arXiv 2306.14048",
       "What all queries attended to; costs a second pass over the context."},
      {"expected-attention", "expected-attention+uniform", "arXiv 2510.00636",
       "What queries like the context's would attend to at the next positions; costs a second pass."},
      {"ada-expected-attention", "expected-attention+adaptive", "arXiv 2510.00636",
       "Expected Attention's scores; heads whose scores are spread get more of their layer's budget."},
      {"caote", "caote+uniform", "arXiv 2504.14051",
       "SnapKV's votes, weighed by how far the output moves without the entry."},
      {"dropkv", "dropkv+uniform", "",
       "How far the last queries' outputs move when an entry is dropped, squared."},
      {"obcache", "obcache+uniform", "arXiv 2510.07651",
       "The same to the first order, as pruning an entry's key and value."},
      {"lava", "lava+entropy", "arXiv 2509.09754",
       "Window attention times a head's largest value; layers whose scores are spread get more."},
      {"sage", "sage+uniform", "arXiv 2503.08879", "What the last query attends to, head by head."},
      {"pyramidkv", "snapkv+pyramid", "arXiv 2406.02069", "SnapKV's scores; lower layers get more."},
      {"critical-snapkv", "critical(snapkv+uniform)", "arXiv 2502.03805",
       "SnapKV, half of it chosen with what an entry's value does to the layer's output."},
      {"critical-ada-snapkv", "critical(snapkv+adaptive)", "arXiv 2502.03805",
       "Ada-SnapKV, half of it chosen with what an entry's value does to the layer's output."},
      {"critical-expected-attention", "critical(expected-attention+uniform)", "arXiv 2502.03805",
       "Expected Attention, half of it chosen with what an entry's value does to the layer's output."},
      {"squeeze-snapkv", "squeeze(snapkv+uniform)", "arXiv 2404.04793",
       "SnapKV; layers whose attention changes the hidden state least get less."},
      {"laprox", "laprox+global", "arXiv 2605.07234",
       "The pairs of attention column and projected value with the largest norms, over the whole model."},
      {"laprox-joint", "laprox-joint+global", "",
       "LaProx with the exact norm of what an entry adds for all query heads of its group."},
      {"kvedit", "mix(h2o+uniform;laprox-joint+global):share=0.25", "",
       "A quarter what all queries attended to, the rest LaProx-joint's; costs a second pass."},
      {"lkv", "lkv+learned", "arXiv 2605.06676",
       "Learned scores of key and value, learned budgets a head; needs a file trained for the model."},
      {"lkv-joint", "mix(lkv+learned;laprox-joint+global):share=0.7", "",
       "LKV's choice, the last three tenths LaProx-joint's; needs LKV's file."},
  };
  return kPolicies;
}

Policy make_policy(std::string_view text, const std::function<std::string()>& lkv_file) {
  Recipe recipe = Recipe::read(text);
  std::vector<std::string> companions;
  for (const Parameter& parameter : recipe.parameters()) {
    if (!lkv_file || !parameter.free_text || !parameter.text.empty()) continue;
    recipe.set(parameter.name, lkv_file());
    companions.push_back(parameter.name);
  }
  Policy policy;
  policy.selector = recipe.make();
  policy.scorer = policy.selector->scorer();
  // What the window's own queries saw of the window is cut off by causality, so it cannot compete.
  policy.recent = std::max(recipe.own().integer("recent"), policy.needs().window_queries);
  recipe.set("recent", std::to_string(policy.recent));
  policy.sinks = recipe.own().integer("sinks");
  policy.name = recipe.text();
  // Where a companion lies is no part of the recipe: it is looked for again, on whatever machine that is.
  for (const std::string& parameter : companions) recipe.set(parameter, "");
  policy.recipe = recipe.text();
  return policy;
}

std::string without_files(std::string_view text) {
  if (text.empty()) return {};
  Recipe recipe = Recipe::read(text);
  for (const Parameter& parameter : recipe.parameters()) {
    if (parameter.free_text && !parameter.text.empty()) recipe.set(parameter.name, "");
  }
  return recipe.text();
}

bool PolicyInfo::needs_file() const {
  return std::any_of(parameters.begin(), parameters.end(), [](const Parameter& parameter) {
    return parameter.free_text && parameter.text.empty();
  });
}

std::vector<PolicyInfo> policies() {
  std::vector<PolicyInfo> infos;
  for (const NamedPolicy& policy : named_policies()) {
    infos.push_back({.name = std::string(policy.name),
                     .definition = std::string(policy.definition),
                     .paper = std::string(policy.paper),
                     .description = std::string(policy.description),
                     .parameters = Recipe::read(policy.name).parameters()});
  }
  return infos;
}

std::vector<PolicyPart> policy_parts() {
  std::vector<PolicyPart> all;
  const auto add = [&all](PolicyPart::Kind kind, const auto& part) -> PolicyPart& {
    all.push_back({kind, part.name, part.paper, part.description, part.parameters});
    return all.back();
  };
  for (const ScorerPart& part : scorer_parts()) {
    PolicyPart& scorer = add(PolicyPart::Kind::scorer, part);
    scorer.sinks = part.sinks;
    scorer.recent = part.recent;
  }
  for (const AllocatorPart& part : allocator_parts()) add(PolicyPart::Kind::allocator, part);
  for (const CombinatorPart& part : combinator_parts())
    add(PolicyPart::Kind::combinator, part).policies = static_cast<int>(part.bases);
  return all;
}

}  // namespace kvedit
