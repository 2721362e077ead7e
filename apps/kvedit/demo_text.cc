#include "demo_text.h"

#include <utility>
#include <vector>

namespace kvedit::cli {

const char* const demo_right_fact = "The code for the archive door is 4471.";
const char* const demo_wrong_fact = "The code for the archive door is 9023.";
const char* const demo_question = "What is the code for the archive door?";

namespace {

// $p a person, $w when, $g goods. Each stands for a different word at every use of a sentence.
const char* const sentences[] = {
    "$w the fishing boats come back before sunrise and unload their $g along the eastern quay.",
    "$p keeps a small shop near the lighthouse where sailors buy rope, lamp oil and $g.",
    "The tide was so low $w that children walked out to the old wreck and collected shells.",
    "A narrow street leads from the market up to the church, and $p sweeps it $w.",
    "The baker lights the oven $w, and soon the whole street smells of bread and $g.",
    "$p has repaired nets for most of a lifetime and can tell the maker of each by its knots.",
    "When fog covers the bay, the bell on the breakwater rings slowly until the last ferry is safe.",
    "The ferry to the islands carries letters, goats, bicycles and crates of $g.",
    "$w the market fills with farmers who sell $g from the backs of their carts.",
    "Nobody remembers who painted the blue boat above the door of the inn, though $p claims to know.",
    "The harbour master writes the name of every ship in a heavy book, and $p copies it in the evening.",
    "Gulls wait on the roof of the smokehouse because $p throws them scraps $w.",
    "The school on the hill closes early $w so that the older pupils can help carry $g.",
    "$p plays the accordion outside the customs house whenever a foreign crew comes ashore.",
    "A storm tore the sails of two yachts $w, and the sailmaker worked through the night.",
    "The museum shows old maps, a whale's jaw and the uniform that $p's grandfather wore.",
    "Rain water runs down the steps of the upper town and collects in a basin beside the $g sellers.",
    "$p rents three rooms with a view of the pier, and guests often stay longer than they planned.",
    "The lighthouse keeper climbs the stairs $w and cleans the great lens with a soft cloth.",
    "Trucks take frozen fish to the city, and they return loaded with $g for the shops.",
    "The old crane no longer moves, but $p insists that it could lift a locomotive.",
    "$w a choir practises in the boathouse, since its wooden walls make every voice sound warmer.",
    "The doctor visits the islands by motor boat and is often paid with $g.",
    "$p found a bottle with a letter inside and answered it, though the writer lived far away.",
    "The town council argued $w about the price of moorings and the smell of the cannery.",
    "Along the sea wall people hang washing, mend chairs and talk about the price of $g.",
    "$p teaches beginners to sail in the inner basin, where the water is nearly always calm.",
    "A dog called Anchor sleeps beside the ticket office and follows $p home $w.",
    "The pharmacist keeps bees on the roof and trades their honey for $g.",
    "Visitors like the tower for its view, but $p prefers the quiet garden behind it.",
    "The last cannery closed long ago, and its halls now shelter boats, painters and barrels of $g.",
    "$w the wind turns north, the shutters rattle and everyone talks about the coming winter.",
    "$p reads the weather from the colour of the hills and is seldom wrong.",
    "The library lends novels to ships for a whole season, and $p notes down which return salted.",
    "Divers checked the chains of the buoys $w and brought up a bicycle and an anchor.",
    "At the end of the pier $p sells hot soup, and the queue is longest $w.",
    "The pilots drink their coffee standing, for a signal from the open sea may come at any moment.",
    "A wedding party crossed the bay in decorated boats $w, led by $p with a lantern.",
    "The carpenter builds a dinghy every spring and pays for the oak with $g.",
    "Crab pots are stacked against the wall of the ice house, each marked with its owner's colours.",
    "$p learned the names of the stars from a captain who never owned a clock.",
    "The post office opens late $w, because the mail boat waits for the tide like everyone else.",
};

const char* const people[] = {"Marta",      "Old Henrik",     "Mrs. Calloway", "Tomas",
                              "Young Ines", "Captain Brandt", "Elsa",          "Mr. Okoro",
                              "Lucia",      "Father Dunne",   "Pavel",         "Nora"};
const char* const times[] = {"on Mondays",       "in late summer",   "after the storm",  "on market days",
                             "before breakfast", "in early spring",  "on Friday nights", "last autumn",
                             "at the weekend",   "during the frost", "most evenings",    "on quiet mornings"};
const char* const goods[] = {"mackerel", "apples", "wool",    "lamp glass", "onions", "dried beans",
                             "tea",      "cheese", "candles", "salt",       "pears",  "tarred rope"};

/// Random numbers that are equal on every machine, which std::shuffle and distributions do not promise.
class Draw {
 public:
  explicit Draw(uint64_t seed) : state_(seed * 2862933555777941757u + 3037000493u) {}
  size_t below(size_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % n;
  }

 private:
  uint64_t state_;
};

/// A list in an order of its own, that goes round.
template <size_t n>
class Round {
 public:
  Round(const char* const (&items)[n], Draw& draw) : items_(items, items + n) {
    for (size_t i = n - 1; i > 0; --i) std::swap(items_[i], items_[draw.below(i + 1)]);
  }
  const char* next() { return items_[used_++ % n]; }

 private:
  std::vector<const char*> items_;
  size_t used_ = 0;
};

}  // namespace

std::string demo_text(int tokens, uint64_t seed, const std::function<int(const std::string&)>& count) {
  Draw draw(seed);
  Round lines(sentences, draw);
  Round who(people, draw);
  Round when(times, draw);
  Round what(goods, draw);
  std::vector<std::string> made;
  int total = count(std::string(demo_right_fact) + " " + demo_wrong_fact);
  while (total < tokens) {
    std::string sentence;
    for (const char* c = lines.next(); *c; ++c) {
      if (*c != '$') {
        sentence += *c;
        continue;
      }
      ++c;
      sentence += *c == 'p' ? who.next() : *c == 'w' ? when.next() : what.next();
    }
    if (sentence[0] >= 'a' && sentence[0] <= 'z') sentence[0] = static_cast<char>(sentence[0] - 'a' + 'A');
    total += count(" " + sentence);
    made.push_back(sentence);
  }
  made.insert(made.begin() + static_cast<long>(made.size() / 4), demo_right_fact);
  made.insert(made.begin() + static_cast<long>(made.size() / 2), demo_wrong_fact);
  std::string text;
  for (size_t i = 0; i < made.size(); ++i) {
    if (i > 0) text += i % 8 == 0 ? "\n\n" : " ";
    text += made[i];
  }
  return text;
}

}  // namespace kvedit::cli
