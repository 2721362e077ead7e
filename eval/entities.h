// Wrong answers: for an entity another one of its kind, and passages that assert it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/random.h"
#include "eval/wording.h"

namespace kvedit::eval {

/// What an answer names.
enum class EntityKind { number, person, place, time, other };
/// Tells an entity's kind by the words of the question, or by the answer's shape where they do not say.
EntityKind entity_kind(std::string_view question, std::string_view answer);

struct Entity {
  std::vector<std::string> names;  // its own name, then aliases; at least one
  EntityKind kind = EntityKind::other;
};

struct Passage {
  std::string title, text;
};

/// Tells whether nobody would take one for the other: they share no word but "the", "of" and the like,
/// neither has a number that holds the other's, and their letters differ.
bool apart(std::string_view a, std::string_view b);

/// Makes up to `most` wrong answers in random order. Each is apart from all of the entity's names, and none
/// of the texts says it. A number or a date gets other digits and months; any other entity becomes the first
/// name of one in `pool`, of its kind where there is one.
std::vector<std::string> other_answers(const Entity& entity, const std::vector<Entity>& pool,
                                       const std::vector<WordList>& texts, size_t most, Random& random);

/// Puts `wrong` in place of the entity's names in title and text, and of parts that stand for it alone, as a
/// surname or a year. Returns nothing where a word of a name stays, since the truth could still be read
/// there.
std::optional<Passage> contradicted(const Passage& passage, const Entity& entity, const std::string& wrong);

}  // namespace kvedit::eval
