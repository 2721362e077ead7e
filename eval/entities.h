// Wrong answers: for an entity another one of its kind, and passages that assert it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/random.h"
#include "eval/wording.h"

namespace kvedit::eval {

/// By the words of the question, the answer's shape where they do not say.
enum class EntityKind { number, person, place, time, other };
EntityKind entity_kind(std::string_view question, std::string_view answer);

struct Entity {
  std::vector<std::string> names;  // at least one; the first is its own, the others aliases
  EntityKind kind = EntityKind::other;
};

struct Passage {
  std::string title, text;
};

/// Whether nobody would take one for the other: no word in common but "the", "of" and the like, no number
/// that holds the other's, not the same letters.
bool apart(std::string_view a, std::string_view b);

/// Up to `most` wrong answers in random order, each apart from all of the entity's names and said by none of
/// the texts. A number or a date has its digits and months changed; anything else is the first name of one of
/// `pool`, of its kind, or of any kind where there is none.
std::vector<std::string> other_answers(const Entity& entity, const std::vector<Entity>& pool,
                                       const std::vector<WordList>& texts, size_t most, Random& random);

/// The passage with `wrong` in place of the entity: of its names, in title and text, and of what stands for
/// them alone, as a surname or a year. Nothing where a word of a name stays, so that the truth could still be
/// read there.
std::optional<Passage> contradicted(const Passage& passage, const Entity& entity, const std::string& wrong);

}  // namespace kvedit::eval
