// Where a text says again what was erased from it.
#pragma once

#include <span>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

/// Stretches of `text` from `begin` on that have three tokens or more in a row of one of the `erased` texts,
/// each with the 12 tokens behind it; the longest first, until they are `budget` tokens. They may overlap.
std::vector<Span> repeats_of(std::span<const std::vector<Token>> erased, std::span<const Token> text,
                             int begin, int budget);

}  // namespace kvedit
