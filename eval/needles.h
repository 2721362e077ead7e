// Numbers with keys that stand in a long text, which the needle tasks share.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "eval/haystack.h"
#include "eval/random.h"

namespace kvedit::eval {

struct Needle {
  std::string key, value;  // value: four digits
  double depth = 0;        // share of the haystack before it

  std::string sentence() const;
  std::string question() const;  // "\n\nQuestion: ...?\nAnswer:"
  std::string opening() const;   // the beginning of the answer, up to the value
};

inline constexpr int kMostNeedles = 24;
inline constexpr int kNeedleAnswerTokens = 12;
inline constexpr std::string_view kNeedleOpening = "Remember the magic numbers in this text.\n\n";
inline constexpr size_t kMostBytesAToken = 12;  // more than any prose has

/// Draws different keys and values; needle i stands somewhere in the i-th of `count` equal parts.
std::vector<Needle> draw_needles(size_t count, Random& random);

/// Draws about `bytes` of filler: five sentences repeated (RULER's noise haystack, arXiv 2404.06654), or a
/// stretch of the haystack.
std::string draw_filler(bool noise, const Haystack& haystack, size_t bytes, Random& random);

/// Finds the first end of a sentence at or after `from`, else the last one, else the text's end. For 0 it is
/// the text's beginning.
size_t sentence_end(std::string_view text, size_t from);

}  // namespace kvedit::eval
