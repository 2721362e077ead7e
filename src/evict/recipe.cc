#include "evict/recipe.h"

#include <algorithm>
#include <set>
#include <utility>

#include "evict/parts.h"
#include "tools/parameters.h"
#include "tools/text.h"

namespace kvedit {
namespace {

// Limits, since clients may choose a policy, and each scorer of a mix may cost a pass over the context.
constexpr int kDeepest = 8;  // parentheses within parentheses
constexpr size_t kMostPairs = 8;
constexpr size_t kLongestText = 16 << 10;  // bytes

template <typename Parts>
auto find(const Parts& parts, std::string_view name) {
  const auto found =
      std::find_if(parts.begin(), parts.end(), [&](const auto& part) { return part.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

template <typename Parts>
std::string names(const Parts& parts) {
  return join(parts, [](const auto& part) { return part.name; });
}

[[noreturn]] void unknown(std::string_view what) {
  fail(ErrorCode::not_found, "evict", "no policy \"", what, "\"; named: ", names(named_policies()),
       "; or scorer+allocator, of ", names(scorer_parts()), " and ", names(allocator_parts()),
       "; or combinator(policy;...), of ", names(combinator_parts()));
}

// The first of `marks` outside all parentheses, or npos. Throws for parentheses that do not match.
size_t find_outside(std::string_view text, std::string_view marks) {
  int open = 0;
  size_t found = std::string_view::npos;
  for (size_t i = 0; i < text.size(); i++) {
    open += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
    if (open < 0) break;
    if (open == 0 && found == std::string_view::npos && marks.find(text[i]) != std::string_view::npos)
      found = i;
  }
  if (open != 0 && found == std::string_view::npos) {
    fail(ErrorCode::invalid_argument, "evict", "the parentheses of \"", text, "\" do not match");
  }
  return found;
}

}  // namespace

Recipe Recipe::read(std::string_view text) {
  if (text.size() > kLongestText) {
    fail(ErrorCode::out_of_range, "evict", "a policy of ", text.size(), " characters; at most ",
         kLongestText);
  }
  Recipe recipe = read(text, 0);
  if (recipe.pairs() > kMostPairs) {
    fail(ErrorCode::out_of_range, "evict", "\"", text, "\" is made of ", recipe.pairs(), " scorers; at most ",
         kMostPairs);
  }
  return recipe;
}

size_t Recipe::pairs() const {
  size_t sum = bases_.empty();
  for (const Recipe& base : bases_) sum += base.pairs();
  return sum;
}

Recipe Recipe::read(std::string_view text, int depth) {
  if (depth > kDeepest) {
    fail(ErrorCode::out_of_range, "evict", "\"", text, "\" stands in more than ", kDeepest, " parentheses");
  }
  const size_t colon = find_outside(text, ":");
  Recipe recipe = term(text.substr(0, colon), depth);
  if (depth == 0) recipe.declare_always_kept();
  if (colon != std::string_view::npos) recipe.read_parameters(text.substr(colon + 1));
  return recipe;
}

Recipe Recipe::term(std::string_view text, int depth) {
  if (const NamedPolicy* named = find(named_policies(), text)) {
    Recipe recipe = read(named->definition, depth + 1);
    recipe.name_ = text;
    return recipe;
  }
  const size_t open = text.find('(');
  if (open != std::string_view::npos) return combination(text, open, depth);
  const size_t plus = text.find('+');
  if (plus == std::string_view::npos) unknown(text);
  return pair(text, text.substr(0, plus), text.substr(plus + 1));
}

Recipe Recipe::pair(std::string_view text, std::string_view scorer, std::string_view allocator) {
  const auto scorers = scorer_parts();
  const auto allocators = allocator_parts();
  const ScorerPart* scores = find(scorers, scorer);
  const AllocatorPart* allocates = find(allocators, allocator);
  if (!scores || !allocates) unknown(text);
  Recipe recipe;
  recipe.name_ = text;
  recipe.sinks_ = scores->sinks;
  recipe.recent_ = scores->recent;
  recipe.own_.declare(scores->parameters);
  for (const Parameter& parameter : allocates->parameters) {
    if (!find(scores->parameters, parameter.name)) recipe.own_.declare({parameter});
  }
  recipe.make_ = [make_scorer = scores->make, make_allocator = allocates->make](
                     const Parameters& own, const std::vector<std::unique_ptr<Selector>>& /*bases*/) {
    return scored(make_scorer(own), make_allocator(own));
  };
  return recipe;
}

Recipe Recipe::combination(std::string_view text, size_t open, int depth) {
  const auto combinators = combinator_parts();
  const CombinatorPart* part = find(combinators, text.substr(0, open));
  if (!part || text.back() != ')') unknown(text);
  Recipe recipe;
  recipe.name_ = cat(part->name, "(");
  std::string_view inside = text.substr(open + 1, text.size() - open - 2);
  while (true) {
    const size_t semicolon = find_outside(inside, ";");
    recipe.bases_.push_back(read(inside.substr(0, semicolon), depth + 1));
    const Recipe& base = recipe.bases_.back();
    recipe.name_ += base.name_;
    recipe.sinks_ = std::max(recipe.sinks_, base.sinks_);
    recipe.recent_ = std::max(recipe.recent_, base.recent_);
    if (semicolon == std::string_view::npos) break;
    recipe.name_ += ";";
    inside.remove_prefix(semicolon + 1);
  }
  recipe.name_ += ")";
  if (recipe.bases_.size() != part->bases) {
    fail(ErrorCode::invalid_argument, "evict", "\"", text, "\" has ", recipe.bases_.size(), " policies; ",
         part->name, " takes ", part->bases);
  }
  recipe.own_.declare(part->parameters);
  recipe.make_ = part->make;
  return recipe;
}

// Parameters of the whole policy; their defaults are the most that a scorer inside asks for.
void Recipe::declare_always_kept() {
  constexpr double kMost = 1 << 24;
  own_.declare({{.name = "sinks",
                 .value = static_cast<double>(sinks_),
                 .description = "first entries of every lane of a full-attention layer, always kept",
                 .maximum = kMost},
                {.name = "recent",
                 .value = static_cast<double>(recent_),
                 .description = "last entries of every lane, always kept; at least the window",
                 .maximum = kMost}});
}

std::vector<Recipe::Handle> Recipe::handles() {
  std::vector<Handle> all;
  std::vector<std::vector<Handle>> of_base;
  std::multiset<std::string> all_names;
  for (const Parameter& p : own_.all()) all_names.insert(p.name);
  for (Recipe& base : bases_) {
    of_base.push_back(base.handles());
    for (const Handle& handle : of_base.back()) all_names.insert(handle.name);
  }
  for (size_t i = 0; i < of_base.size(); i++) {
    for (Handle& handle : of_base[i]) {
      if (all_names.count(handle.name) > 1)
        handle.name = std::string{static_cast<char>('a' + i), '.'} + handle.name;
      all.push_back(std::move(handle));
    }
  }
  for (const Parameter& p : own_.all()) all.push_back({p.name, &own_, p.name});
  return all;
}

std::vector<Parameter> Recipe::parameters() const {
  Recipe copy = *this;
  std::vector<Parameter> all;
  for (const Handle& handle : copy.handles()) {
    all.push_back(handle.owner->at(handle.own_name));
    all.back().name = handle.name;
  }
  return all;
}

void Recipe::set(std::string_view name, std::string_view value) {
  const auto all = handles();
  const Handle* handle = find(all, name);
  if (!handle) {
    fail(ErrorCode::invalid_argument, "evict", "no parameter \"", name, "\"; known: ", names(all));
  }
  handle->owner->set(handle->own_name, value);
}

// "key=value,key=value"
void Recipe::read_parameters(std::string_view text) {
  for (const auto& [key, value] : key_values(text, "evict")) set(key, value);
}

std::string Recipe::text() const {
  Recipe copy = *this;
  std::string text = name_;
  char separator = ':';
  for (const Handle& handle : copy.handles()) {
    text += separator + handle.name + "=" + handle.owner->text(handle.own_name);
    separator = ',';
  }
  return text;
}

std::unique_ptr<Selector> Recipe::make() const {
  std::vector<std::unique_ptr<Selector>> bases;
  for (const Recipe& base : bases_) bases.push_back(base.make());
  return make_(own_, std::move(bases));
}

}  // namespace kvedit
