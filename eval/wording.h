// Text word by word, so that no word or number is found or replaced inside another.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvedit::eval {

/// Letters, digits and marks in a row; a number keeps the '.' and ',' between its digits.
struct Word {
  size_t begin = 0, end = 0;  // bytes of the text
  std::string text;
  std::string plain;  // without case and accents; "5,000" is "5000", "four" is "4"
};
using WordList = std::vector<Word>;

WordList words_of(std::string_view text);
bool has_digit(std::string_view text);
/// Tells whether its letter (0: the first) is in upper case.
bool is_capital(const Word& word, size_t letter);
/// Tells "the", "of" and single letters, but not a word in capitals: "US".
bool is_stop_word(const Word& word);

/// Tells whether a text's word is a phrase's: "Hotel" is "hotel", "hall" is not "Hall", "us" is not "US".
bool same_word(const Word& text, const Word& phrase);
/// Tells whether the phrase's words stand in the text in a row. A phrase without words is said nowhere.
bool says(const WordList& text, const WordList& phrase);
bool says(std::string_view text, std::string_view phrase);

/// A phrase, and what comes in its place.
using Replacements = std::vector<std::pair<WordList, std::string>>;
/// Replaces each phrase where its words stand in a row, the longest of several. Replacements are not read
/// again.
std::string replaced(std::string_view text, const Replacements& replacements);

}  // namespace kvedit::eval
