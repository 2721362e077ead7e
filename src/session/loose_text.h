// Text in which some differences are made equal, so that it can be searched for loosely.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kvedit {

/// Differences between texts that can be made equal.
enum Difference : unsigned {
  kLetterCase = 1,
  kWhiteSpace = 2,   // kind and number
  kPunctuation = 4,  // the typographic forms of quotation marks and dashes
  kUnicodeForm = 8,  // composed or not, ligatures, full width
  kEveryDifference = 15,
};

/// A text with differences made equal, and where each of its characters comes from.
class LooseText {
 public:
  LooseText(std::string_view text, unsigned differences);
  const std::u32string& characters() const { return characters_; }

  struct Place {
    size_t begin = 0, end = 0;  // of the original, in bytes
  };
  /// Returns the place that characters [begin, end) come from.
  Place place(size_t begin, size_t end) const { return {from_[begin].begin, from_[end - 1].end}; }
  /// Finds every place of `text`, which was made equal in the same way; white space at its ends does not
  /// count.
  std::vector<Place> find(const LooseText& text) const;

  struct Nearest {
    Place place;
    size_t edits = 0;       // characters to change, add or leave out
    size_t characters = 0;  // of the text looked for
  };
  /// Finds the place with the fewest edits to `text`, of which only the beginning counts if it is very long.
  /// There must be some of both.
  Nearest nearest(const LooseText& text) const;

 private:
  bool border(size_t at) const;  // between characters of the original
  void add(char32_t character, Place from);
  void add_normalised(std::string_view text, Place from, unsigned differences);
  std::u32string_view trimmed() const;

  std::u32string characters_;
  std::vector<Place> from_;  // [characters]
};

/// Names the differences, as "case, white space", between two texts that are equal with every difference made
/// equal.
std::string differences(std::string_view a, std::string_view b);

}  // namespace kvedit
