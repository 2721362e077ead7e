// Facts that a question can ask for: invented ones, and ones that patterns find in passages.
#pragma once

#include <string>
#include <vector>

#include "eval/random.h"
#include "train/passages.h"

namespace kvedit::train {

struct Fact {
  std::string statement;  // a sentence or passage that says it
  std::string question;   // "What is the code of the archive?"
  std::string opening;    // beginning of an answer, up to the value; may be empty
  std::string value;
  std::string contradiction;  // the statement with a value that nobody would take for it
};

/// Invents a fact: "The access code of the boiler room is 48213."
Fact invent_fact(eval::Random& random);

/// Finds facts by patterns in passages that have titles: dates, places, names. The contradiction is a copy
/// of the passage's beginning that asserts another passage's value, or an invented date, as erase-qa's does.
/// Facts that no copy contradicts are left out.
class FactFinder {
 public:
  explicit FactFinder(const Passages& passages);
  bool empty() const { return found_.empty(); }
  Fact draw(eval::Random& random) const;

 private:
  struct Found {
    size_t pattern;
    std::string title, text, value;
    std::vector<std::string> contradictions;  // copies of the text
  };
  std::vector<Found> found_;
};

}  // namespace kvedit::train
