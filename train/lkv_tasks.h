// Texts that learned eviction is trained on: contexts that are compressed before anything that follows is
// known.
#pragma once

#include <string>
#include <vector>

#include "eval/haystack.h"
#include "kvedit/model.h"

namespace kvedit::train {

struct LkvText {
  std::string kind;
  std::vector<Token> context;       // the begin token included
  std::vector<Token> continuation;  // 64 tokens, or fewer
};

/// Makes kinds in turn, by the index: "text" that goes on; "recall", which repeats a stretch of the context;
/// "text"; "facts", questions about sentences in the context, with their answers. Equal arguments make equal
/// texts. Throws Error(out_of_range) for a length that the haystack is too short for.
LkvText make_lkv_text(const Model& model, const eval::Haystack& haystack, int length, uint64_t seed,
                      int index);

}  // namespace kvedit::train
