// RULER's own files: JSONL with `input`, `outputs` and, in newer ones, `answer_prefix`.
#pragma once

#include <string_view>

#include "eval/ruler/ruler.h"

namespace kvedit::eval::ruler {

struct Record {
  std::string_view wording;  // "niah"
  Prompt prompt;             // where the file has the answer's prefix in its input, that is in the question
};

/// Throws Error(corrupt) saying what is missing.
Record parse_record(std::string_view line);

}  // namespace kvedit::eval::ruler
