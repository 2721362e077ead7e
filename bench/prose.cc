#include "bench/prose.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "kvedit/session.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

using Words = std::array<std::string_view, 12>;
constexpr Words kWho = {"The harbour master", "A young teacher",    "The old printer", "Her cousin",
                        "The night guard",    "A travelling clerk", "The gardener",    "Their neighbour",
                        "The ship's cook",    "A quiet student",    "The mayor",       "My aunt"};
constexpr Words kDid = {"carried", "described", "forgot", "repaired", "counted", "borrowed",
                        "painted", "measured",  "hid",    "sold",     "found",   "returned"};
constexpr Words kWhat = {"the brass lantern", "three letters",      "a map of the coast", "the broken clock",
                         "a basket of pears", "the winter ledger",  "an iron key",        "the blue umbrella",
                         "a box of candles",  "the station's bell", "a jar of honey",     "the last ticket"};
constexpr Words kWhere = {"near the old bridge",  "behind the market", "in the library",
                          "on the second floor",  "by the river",      "at the edge of town",
                          "under the stairs",     "in the long hall",  "outside the bakery",
                          "along the north road", "beside the well",   "in the empty theatre"};
constexpr Words kWhen = {"before the rain began",
                         "on a cold Tuesday",
                         "after the bells had stopped",
                         "long ago",
                         "while the others slept",
                         "at the end of the summer",
                         "without a word",
                         "for the second time",
                         "when the train was late",
                         "as the lamps went out",
                         "to everyone's surprise",
                         "in the spring of that year"};

// A linear congruential generator (Knuth's MMIX constants), equal everywhere, unlike std's distributions.
class Draws {
 public:
  explicit Draws(unsigned seed) : state_(seed) {}
  size_t below(size_t n) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<size_t>((state_ >> 33U) % n);
  }
  std::string_view word(const Words& words) { return words.at(below(words.size())); }

 private:
  uint64_t state_;
};

// Returns the tokens that the model puts before a text, if any.
std::vector<Token> begin_tokens(const std::shared_ptr<Model>& model) {
  Session probe(model);
  probe.append("The");
  const std::vector<Token> with = probe.tokens();
  const size_t plain = model->tokenize("The").size();
  return {with.begin(), with.end() - static_cast<std::ptrdiff_t>(std::min(plain, with.size()))};
}

}  // namespace

std::string prose(int sentences, unsigned seed) {
  Draws draws(seed);
  std::string text;
  for (int i = 0; i < sentences; i++) {
    text += cat(draws.word(kWho), " ", draws.word(kDid), " ", draws.word(kWhat), " ", draws.word(kWhere));
    if (draws.below(2) == 0) text += cat(", ", draws.word(kWhen));
    if (draws.below(3) == 0) text += cat(", and ", draws.below(90) + 10, " people heard of it");
    text += draws.below(6) == 0 ? ".\n\n" : ". ";
  }
  return text;
}

std::vector<Token> prose_tokens(const std::shared_ptr<Model>& model, int count) {
  std::vector<Token> tokens = begin_tokens(model);
  for (int sentences = count / 8 + 8; static_cast<int>(tokens.size()) < count; sentences *= 2) {
    const std::vector<Token> text = model->tokenize(prose(sentences));
    if (static_cast<int>(tokens.size() + text.size()) >= count)
      tokens.insert(tokens.end(), text.begin(), text.end());
  }
  tokens.resize(count);
  return tokens;
}

std::vector<Token> filler_tokens(int vocabulary, int count) {
  Draws draws(1);
  std::vector<Token> tokens;
  for (int i = 0; i < count; i++) tokens.push_back(static_cast<Token>(draws.below(vocabulary)));
  return tokens;
}

}  // namespace kvedit::bench
