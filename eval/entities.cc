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

constexpr std::array<std::string_view, 12> kMonths = {"January",   "February", "March",    "April",
                                                      "May",       "June",     "July",     "August",
                                                      "September", "October",  "November", "December"};
// Words that many entities share, which tell none of them apart.
constexpr std::array<std::string_view, 29> kCommonWords = {
    "jr",      "sr",     "airport",  "band",   "bay",   "church", "city", "club",  "college",   "company",
    "country", "county", "district", "family", "film",  "island", "lake", "mount", "president", "queen",
    "river",   "saint",  "school",   "sir",    "state", "states", "team", "town",  "university"};
constexpr int kTries = 64;           // of a number
constexpr size_t kCandidates = 200;  // of the pool that are looked at

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_month(const Word& word) {
  return std::find(kMonths.begin(), kMonths.end(), word.text) != kMonths.end();
}

// It tells one entity from another.
bool tells(const Word& word) {
  return !is_stop_word(word) &&
         std::find(kCommonWords.begin(), kCommonWords.end(), word.plain) == kCommonWords.end();
}

// "1945", "12 May 1945", "about 6.8 inches"; not "Studio 33".
bool is_number_or_date(const WordList& words) {
  return std::any_of(words.begin(), words.end(), [](const Word& w) { return has_digit(w.text); }) &&
         std::none_of(words.begin(), words.end(), [](const Word& w) {
           return is_capital(w, 0) && tells(w) && !has_digit(w.text) && !is_month(w);
         });
}

// Each digit but the first of a run becomes another one; a lone digit too.
std::string other_digits(std::string text, Random& random) {
  for (size_t i = 0; i < text.size(); i++) {
    if (!is_digit(text[i])) continue;
    const bool first = i == 0 || !is_digit(text[i - 1]);
    const bool last = i + 1 == text.size() || !is_digit(text[i + 1]);
    if (first && !last) continue;
    const auto digit = static_cast<size_t>(text[i] - '0');
    text[i] = static_cast<char>('0' + (digit + 1 + random.below(9)) % 10);
    if (first && text[i] == '0') text[i] = digit == 1 ? '2' : '1';
  }
  return text;
}

// Other digits, other months, and no other word ("inches") that both would have.
std::string other_number(const std::string& text, Random& random) {
  std::string result;
  size_t done = 0;
  for (const Word& word : words_of(text)) {
    const std::string_view between = std::string_view(text).substr(done, word.begin - done);
    done = word.end;
    if (has_digit(word.text)) {
      result.append(between).append(other_digits(word.text, random));
    } else if (is_month(word)) {
      const auto* const month = std::find(kMonths.begin(), kMonths.end(), word.text);
      const auto at = static_cast<size_t>(month - kMonths.begin());
      result.append(between).append(kMonths.at((at + 1 + random.below(kMonths.size() - 1)) % kMonths.size()));
    } else if (is_stop_word(word) && !result.empty()) {
      result.append(between).append(word.text);
    }
  }
  result.erase(0, std::min(result.size(), result.find_first_not_of(' ')));
  return result;
}

std::string without_article(const std::string& name) {
  for (const std::string_view article : {"the ", "The ", "a ", "A ", "an ", "An "})
    if (name.starts_with(article)) return name.substr(article.size());
  return name;
}

// Adds each name without its article, and "Turin" for "Turin, Italy".
std::vector<std::string> all_names(const Entity& entity) {
  std::vector<std::string> names;
  for (const std::string& name : entity.names) {
    names.push_back(without_article(name));
    const WordList words = words_of(name);
    const size_t comma = name.find(", ");
    if (comma != std::string::npos && !words.empty() && is_capital(words.front(), 0) && !has_digit(name))
      names.push_back(name.substr(0, comma));
  }
  return names;
}

// Not "the", nor "no"; "U.S." tells as a whole.
bool names_one(const WordList& words) {
  return std::any_of(words.begin(), words.end(), tells) ||
         (words.size() > 1 && std::all_of(words.begin(), words.end(), [](const Word& word) {
            return word.plain.size() == 1 && is_capital(word, 0);
          }));
}

// "Choi", "Jin-ri"; "Hank", "Williams" of "Hank Williams, Jr."
std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  size_t done = 0;
  for (const Word& word : words_of(name)) {
    if (!tells(word)) continue;
    const bool joined = !parts.empty() && word.begin == done + 1 && name[done] != ' ';
    if (joined) {
      parts.back().append(name, done, word.end - done);
    } else {
      parts.push_back(word.text);
    }
    done = word.end;
  }
  return parts;
}

// Each name, and the words that stand for one: its last, of persons and dates every one.
Replacements replacements_of(const Entity& entity, const std::string& wrong) {
  Replacements all;
  std::vector<std::string> by = parts_of(wrong);
  if (by.empty()) by = {wrong};
  for (const std::string& name : all_names(entity)) {
    const WordList words = words_of(name);
    if (!names_one(words)) continue;
    all.emplace_back(words, wrong);
    WordList telling;
    std::copy_if(words.begin(), words.end(), std::back_inserter(telling), tells);
    if (words.size() == 1 || telling.empty()) continue;
    const bool every = entity.kind == EntityKind::person || is_number_or_date(words);
    for (size_t i = every ? 0 : telling.size() - 1; i < telling.size(); i++) {
      if (!is_capital(telling[i], 0) && !has_digit(telling[i].text)) continue;
      const bool last = i + 1 == telling.size();
      all.emplace_back(WordList{telling[i]}, last ? by.back() : by[std::min(i, by.size() - 1)]);
    }
  }
  return all;
}

bool still_states(const WordList& text, const Entity& entity) {
  for (const std::string& name : all_names(entity)) {
    const WordList words = words_of(name);
    const bool number = is_number_or_date(words);
    if (names_one(words) && says(text, words)) return true;
    for (const Word& word : words) {
      if (!tells(word) || (number && !has_digit(word.text) && !is_month(word))) continue;
      if (says(text, {word})) return true;
    }
  }
  return false;
}

std::string letters(const WordList& words) {
  std::string all;
  for (const Word& word : words) all += word.plain;
  return all;
}

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

bool apart(std::string_view a, std::string_view b) {
  const WordList first = words_of(a), second = words_of(b);
  if (letters(first) == letters(second) || qa_f1(a, b) > 0) return false;
  const auto numbers = [](const WordList& words) {
    return std::count_if(words.begin(), words.end(), [](const Word& word) { return has_digit(word.plain); });
  };
  const bool one = numbers(first) == 1 || numbers(second) == 1;  // a day may well be a digit of a year
  for (const Word& x : first) {
    for (const Word& y : second) {
      if (is_stop_word(x) || is_stop_word(y)) continue;
      if (x.plain == y.plain) return false;
      if (!one || !has_digit(x.plain) || !has_digit(y.plain)) continue;
      if (x.plain.find(y.plain) != std::string::npos || y.plain.find(x.plain) != std::string::npos)
        return false;
    }
  }
  return true;
}

std::vector<std::string> other_answers(const Entity& entity, const std::vector<Entity>& pool,
                                       const std::vector<WordList>& texts, size_t most, Random& random) {
  std::vector<std::string> found;
  const auto add = [&](const std::string& wrong) {
    const WordList words = words_of(wrong);
    const bool fits =
        !words.empty() && std::find(found.begin(), found.end(), wrong) == found.end() &&
        std::all_of(entity.names.begin(), entity.names.end(),
                    [&](const std::string& name) { return apart(name, wrong); }) &&
        std::none_of(texts.begin(), texts.end(), [&](const WordList& text) { return says(text, words); });
    if (fits) found.push_back(wrong);
  };
  const std::string& truth = entity.names.front();
  if (is_number_or_date(words_of(truth))) {
    for (int i = 0; i < kTries && found.size() < most; i++) add(other_number(truth, random));
    return found;
  }
  const std::vector<size_t> order = random.sample(kCandidates, pool.size());
  const auto named = [](const std::string& name) {
    const WordList words = words_of(name);
    return std::any_of(words.begin(), words.end(), [](const Word& word) { return is_capital(word, 0); });
  };
  // Names stand in for names first, then entities of its kind.
  for (const int unlike : {0, 1, 2, 3}) {
    for (const size_t i : order) {
      const std::string other = without_article(pool[i].names.front());
      if (found.size() == most) return found;
      if (is_number_or_date(words_of(other))) continue;
      if ((pool[i].kind != entity.kind) + 2 * (named(other) != named(truth)) == unlike) add(other);
    }
    if (!found.empty()) break;
  }
  return found;
}

std::optional<Passage> contradicted(const Passage& passage, const Entity& entity, const std::string& wrong) {
  const Replacements replacements = replacements_of(entity, wrong);
  Passage copy{replaced(passage.title, replacements), replaced(passage.text, replacements)};
  if (still_states(words_of(copy.title + "\n" + copy.text), entity)) return std::nullopt;
  return copy;
}

}  // namespace kvedit::eval
