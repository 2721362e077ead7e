// Facts that a question can ask for: invented ones, and those that patterns find in passages.
#pragma once

#include <string>
#include <vector>

#include "eval/draws.h"
#include "train/passages.h"

namespace kvedit::train {

struct Fact {
  std::string statement;  // says it: a sentence, or a passage
  std::string question;   // "What is the code of the archive?"
  std::string opening;    // of an answer, up to the value; may be empty
  std::string value;
  std::string contradiction;  // the statement with another value
};

/// "The access code of the boiler room is 48213.", of something made up.
Fact invent_fact(eval::Draws& draws);

/// What patterns find in passages that have titles: dates, places, names. The contradiction is a copy of the
/// passage's beginning in which the value is another passage's.
class FactFinder {
 public:
  explicit FactFinder(const Passages& passages);
  bool empty() const { return found_.empty(); }
  Fact draw(eval::Draws& draws) const;

 private:
  struct Found {
    size_t pattern;
    std::string title, text, value;
  };
  std::vector<Found> found_;
  std::vector<std::vector<std::string>> values_;  // [pattern]
};

}  // namespace kvedit::train
