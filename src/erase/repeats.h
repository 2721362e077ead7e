// Places where a text says again what was erased from it.
#pragma once

#include <span>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

struct Repeats {
  std::vector<Span> spans;  // they may overlap
  int left = 0;             // different tokens for which the budget had no room
};

/// Finds stretches of `text` from `begin` on that have three tokens or more in a row of one of the `erased`
/// texts, each with the 12 tokens behind it; the longest first, until they are `budget` different tokens.
/// Those of `read` are free.
Repeats repeats_of(std::span<const std::vector<Token>> erased, std::span<const Token> text, int begin,
                   int budget, std::span<const Span> read = {});

}  // namespace kvedit
