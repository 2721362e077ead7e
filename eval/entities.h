// Wrong answers: for an entity another one of its kind.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/draws.h"

namespace kvedit::eval {

/// By the words of the question, the answer's shape where they do not say.
enum class EntityKind { number, person, place, time, other };
EntityKind entity_kind(std::string_view question, std::string_view answer);

struct Entity {
  std::string text;
  EntityKind kind;
};

/// A number or a time has its digits changed; another entity is one of `pool` of its kind, or of any kind
/// where there is none. Neither contains the other. Empty where nothing fits.
std::string another_entity(const Entity& entity, const std::vector<Entity>& pool, Draws& draws);

}  // namespace kvedit::eval
