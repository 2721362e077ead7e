// Words of an erased text that the remaining transcript still says.
#pragma once

#include <span>
#include <vector>

#include "kvedit/erase.h"
#include "session/transcript_text.h"

namespace kvedit {

/// Returns the telling words of `erased` (numbers of two digits and more, names, rare words) that
/// `transcript` says; at most 16, those with the fewest places first. Letters match in either case, digits
/// without the marks that group them. Places inside of `known` are left out.
std::vector<Mention> mentions(const Tokenizer& tokenizer, const TranscriptText& transcript,
                              std::span<const std::vector<Token>> erased, std::span<const Found> known = {});

}  // namespace kvedit
