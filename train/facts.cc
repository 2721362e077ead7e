#include "train/facts.h"

#include <array>
#include <regex>
#include <string_view>

#include "eval/entities.h"
#include "tools/text.h"

namespace kvedit::train {
namespace {

using eval::Random;

constexpr std::array<std::string_view, 32> kThings = {
    "the boiler room",    "the old archive",   "the north tower",   "the wine cellar",  "the city museum",
    "the ferry office",   "the greenhouse",    "the tram depot",    "the grain store",  "the signal hut",
    "the music school",   "the paper mill",    "the water works",   "the seed bank",    "the observatory",
    "the print shop",     "the rowing club",   "the salt mine",     "the clock tower",  "the flower market",
    "the stone quarry",   "the parish hall",   "the ski lodge",     "the oil terminal", "the bird reserve",
    "the chess club",     "the glass factory", "the night shelter", "the toll bridge",  "the apple orchard",
    "the mountain hotel", "the fire station"};
constexpr std::array<std::string_view, 12> kNumbers = {
    "access code", "serial number", "registration number", "magic number",   "room number", "phone extension",
    "postal code", "budget line",   "locker number",       "account number", "case number", "PIN"};
constexpr std::array<std::string_view, 6> kPersons = {"manager",   "owner",    "caretaker",
                                                      "architect", "director", "treasurer"};
constexpr std::array<std::string_view, 24> kFirstNames = {
    "Anna",  "Boris", "Clara", "David",  "Elena", "Frank",  "Greta",  "Hugo",
    "Irene", "Jonas", "Karin", "Louis",  "Maria", "Nils",   "Olga",   "Peter",
    "Rosa",  "Simon", "Tessa", "Ulrich", "Vera",  "Walter", "Yvonne", "Zoltan"};
constexpr std::array<std::string_view, 24> kLastNames = {
    "Abbott", "Berger", "Castillo", "Dumont",    "Eriksen", "Fischer", "Garner", "Holm",
    "Ivanov", "Jansen", "Keller",   "Lindqvist", "Moretti", "Novak",   "Okafor", "Palmer",
    "Quinn",  "Rossi",  "Sato",     "Tanner",    "Urban",   "Vogel",   "Weber",  "Young"};
constexpr std::array<std::string_view, 16> kColours = {
    "red",   "blue", "green", "yellow", "orange", "purple", "brown",  "black",
    "white", "grey", "pink",  "silver", "gold",   "beige",  "violet", "turquoise"};

template <size_t N>
std::string one_of(const std::array<std::string_view, N>& words, Random& random) {
  return std::string(words[random.below(N)]);
}

std::string number(Random& random) {
  constexpr std::array<std::pair<int, int>, 3> kRanges = {{{100, 900}, {1000, 9000}, {10000, 90000}}};
  const auto [least, count] = kRanges[random.below(kRanges.size())];
  return std::to_string(least + random.below(count));
}

std::string person(Random& random) { return one_of(kFirstNames, random) + " " + one_of(kLastNames, random); }

Fact stated(const std::string& subject, const std::string& value, const std::string& other,
            const std::string& word) {
  std::string capital = subject;
  capital[0] = 'T';
  Fact fact{.statement = cat(capital, " is ", value, "."),
            .question = cat(word, " is ", subject, "?"),
            .opening = cat(" ", capital, " is"),
            .value = value,
            .contradiction = cat(capital, " is ", other, ".")};
  return fact;
}

constexpr const char* kDate =
    "(?:[0-9]{1,2} "
    ")?(?:January|February|March|April|May|June|July|August|September|October|November|December)"
    "(?: [0-9]{1,2},)? [0-9]{4}";
constexpr const char* kName = "[A-Z][a-z'-]+(?: (?:de|von|van|of|the) [A-Z][a-z'-]+| [A-Z][a-z'-]+){0,3}";

struct Pattern {
  const char* before;
  const char* value;
  const char* after;
  const char* question;  // $ is the title
  const char* opening;
  eval::EntityKind kind;
};
using eval::EntityKind;
const Pattern kPatterns[] = {
    {"\\( ?(?:born |b\\. )?", kDate, "", "When was $ born?", " $ was born on", EntityKind::time},
    {"died (?:on )?", kDate, "", "When did $ die?", " $ died on", EntityKind::time},
    {"was born (?:on [^.]{5,25} )?in ", kName, "", "Where was $ born?", " $ was born in", EntityKind::place},
    {"directed by ", kName, "", "Who directed $?", " $ was directed by", EntityKind::person},
    {"is an? ", "[0-9]{4}", " [^.]{0,60}(?:film|album|song|novel)", "From which year is $?", " $ is from",
     EntityKind::time},
    {"(?:son|daughter) of (?:the )?", kName, "", "Whose child was $?", " $ was the child of",
     EntityKind::person},
    {"written by ", kName, "", "Who wrote $?", " $ was written by", EntityKind::person},
};
constexpr size_t kTextBytes = 700;     // of a passage that is repeated
constexpr size_t kContradictions = 8;  // of a passage, to draw one from
constexpr uint64_t kContradictionSeed = 0x666163;

std::string filled(std::string text, const std::string& title) {
  return text.replace(text.find('$'), 1, title);
}

// Whole sentences of at most kTextBytes.
std::string beginning(const std::string& text) {
  if (text.size() <= kTextBytes) return text;
  const size_t end = text.rfind(". ", kTextBytes);
  return end == std::string::npos ? "" : text.substr(0, end + 1);
}

// A value that nobody takes for `value`.
template <typename Make>
std::string apart_from(const std::string& value, const Make& make, Random& random) {
  for (;;) {
    std::string other = make(random);
    if (eval::apart(value, other)) return other;
  }
}

// "the owner of the salt mine is Anna Berger", and that it is somebody else
template <typename Make>
Fact invented(const std::string& subject, const Make& make, const std::string& word, Random& random) {
  const std::string value = make(random);
  return stated(subject, value, apart_from(value, make, random), word);
}

}  // namespace

Fact invent_fact(Random& random) {
  const std::string thing = one_of(kThings, random);
  const auto colour = [](Random& random) { return one_of(kColours, random); };
  switch (random.below(4)) {
    case 0:
      return invented("the " + one_of(kPersons, random) + " of " + thing, person, "Who", random);
    case 1:
      return invented("the colour of " + thing, colour, "What", random);
    default:
      return invented("the " + one_of(kNumbers, random) + " of " + thing, number, "What", random);
  }
}

FactFinder::FactFinder(const Passages& passages) {
  for (size_t i = 0; i < std::size(kPatterns); i++) {
    const Pattern& pattern = kPatterns[i];
    const std::regex regex(cat(pattern.before, "(", pattern.value, ")", pattern.after));
    std::vector<Found> all;
    std::vector<eval::Entity> values;
    for (const Passage& passage : passages.all) {
      if (passage.title.empty()) continue;
      const std::string text = beginning(passage.text);
      std::smatch match;
      if (!std::regex_search(text, match, regex)) continue;
      all.push_back({i, passage.title.substr(0, passage.title.find(" (")), text, match[1], {}});
      values.push_back({{match[1]}, pattern.kind});
    }
    for (size_t k = 0; k < all.size(); k++) {
      Random random{kContradictionSeed, i, k};
      for (const std::string& other :
           eval::other_answers(values[k], values, {eval::words_of(all[k].text)}, kContradictions, random)) {
        if (auto copy = eval::contradicted({"", all[k].text}, values[k], other))
          all[k].contradictions.push_back(std::move(copy->text));
      }
      if (!all[k].contradictions.empty()) found_.push_back(std::move(all[k]));
    }
  }
}

Fact FactFinder::draw(Random& random) const {
  const Found& found = found_[random.below(found_.size())];
  const Pattern& pattern = kPatterns[found.pattern];
  return {.statement = found.text,
          .question = filled(pattern.question, found.title),
          .opening = filled(pattern.opening, found.title),
          .value = found.value,
          .contradiction = found.contradictions[random.below(found.contradictions.size())]};
}

}  // namespace kvedit::train
