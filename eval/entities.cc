#include "eval/entities.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "eval/metrics/similarity.h"

namespace kvedit::eval {
namespace {

struct Clue {
  std::string_view word;
  EntityKind kind;
};

constexpr std::array kClues = {
    Clue{"who", EntityKind::person},        Clue{"whom", EntityKind::person},
    Clue{"performer", EntityKind::person},  Clue{"composer", EntityKind::person},
    Clue{"director", EntityKind::person},   Clue{"author", EntityKind::person},
    Clue{"spouse", EntityKind::person},     Clue{"father", EntityKind::person},
    Clue{"mother", EntityKind::person},     Clue{"child", EntityKind::person},
    Clue{"founder", EntityKind::person},    Clue{"actor", EntityKind::person},
    Clue{"actress", EntityKind::person},    Clue{"where", EntityKind::place},
    Clue{"city", EntityKind::place},        Clue{"country", EntityKind::place},
    Clue{"county", EntityKind::place},      Clue{"state", EntityKind::place},
    Clue{"place", EntityKind::place},       Clue{"located", EntityKind::place},
    Clue{"river", EntityKind::place},       Clue{"border", EntityKind::place},
    Clue{"when", EntityKind::time},         Clue{"year", EntityKind::time},
    Clue{"date", EntityKind::time},         Clue{"many", EntityKind::number},
    Clue{"population", EntityKind::number}, Clue{"percentage", EntityKind::number},
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Each digit but the first of a run becomes another one; a lone digit too.
std::string other_digits(std::string text, Draws& draws) {
  for (size_t i = 0; i < text.size(); i++) {
    if (!is_digit(text[i])) continue;
    const bool first = i == 0 || !is_digit(text[i - 1]);
    const bool last = i + 1 == text.size() || !is_digit(text[i + 1]);
    if (first && !last) continue;
    const auto digit = static_cast<size_t>(text[i] - '0');
    text[i] = static_cast<char>('0' + (digit + 1 + draws.below(9)) % 10);
    if (first && text[i] == '0') text[i] = digit == 1 ? '2' : '1';
  }
  return text;
}

// No word in common, so that one is not taken for the other.
bool apart(const std::string& a, const std::string& b) { return qa_f1(a, b) == 0; }

}  // namespace

EntityKind entity_kind(std::string_view question, std::string_view answer) {
  const auto digits = std::count_if(answer.begin(), answer.end(), is_digit);
  if (digits > 0 && digits * 2 >= static_cast<std::ptrdiff_t>(answer.size())) return EntityKind::number;
  std::string word;
  for (const char c : std::string(question) + " ") {
    if (std::isalpha(static_cast<unsigned char>(c))) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      continue;
    }
    const auto* const clue =
        std::find_if(kClues.begin(), kClues.end(), [&](const Clue& known) { return known.word == word; });
    if (clue != kClues.end()) return clue->kind;
    word.clear();
  }
  return digits > 0 ? EntityKind::time : EntityKind::other;
}

std::string another_entity(const Entity& entity, const std::vector<Entity>& pool, Draws& draws) {
  if (std::any_of(entity.text.begin(), entity.text.end(), is_digit)) return other_digits(entity.text, draws);
  std::vector<const Entity*> same, any;
  for (const Entity& other : pool) {
    if (std::any_of(other.text.begin(), other.text.end(), is_digit) || !apart(entity.text, other.text))
      continue;
    any.push_back(&other);
    if (other.kind == entity.kind) same.push_back(&other);
  }
  const std::vector<const Entity*>& from = same.empty() ? any : same;
  return from.empty() ? "" : from[draws.below(from.size())]->text;
}

}  // namespace kvedit::eval
