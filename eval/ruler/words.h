// English words for keys and lists. They stand in for RULER's package of words, so that examples are equal
// on every machine.
#pragma once

#include <string>
#include <vector>

#include "eval/random.h"

namespace kvedit::eval::ruler {

class Vocabulary {
 public:
  Vocabulary();
  /// Returns the number of compounds "adjective-noun".
  size_t compounds() const { return adjectives_.size() * nouns_.size(); }
  std::string compound(size_t index) const;
  /// Draws `count` different words: nouns, adjectives and verbs, or compounds when there are too few.
  std::vector<std::string> sample(size_t count, Random& random) const;

 private:
  std::vector<std::string> adjectives_, nouns_, singles_;
};

}  // namespace kvedit::eval::ruler
