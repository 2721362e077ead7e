// English words for keys and lists, ours in place of RULER's package of words, so that examples are the same
// on every machine.
#pragma once

#include <string>
#include <vector>

#include "eval/random.h"

namespace kvedit::eval::ruler {

class Vocabulary {
 public:
  Vocabulary();
  /// Number of compounds "adjective-noun".
  size_t compounds() const { return adjectives_.size() * nouns_.size(); }
  std::string compound(size_t index) const;
  /// `count` different words: nouns, adjectives and verbs, or compounds when there are not as many.
  std::vector<std::string> sample(size_t count, Random& random) const;

 private:
  std::vector<std::string> adjectives_, nouns_, singles_;
};

}  // namespace kvedit::eval::ruler
