// RULER's scores (arXiv 2404.06654), which count the references that stand in the answer, whatever their
// case.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kvedit::eval {

/// Returns the answer as RULER scores it, with line breaks for control characters and no white space around
/// it.
std::string trimmed_answer(std::string_view answer);
/// Returns the share of the references, at least one, that the answer contains.
double string_match_all(std::string_view answer, const std::vector<std::string>& references);
/// Returns 1 if the answer contains any, else 0.
double string_match_part(std::string_view answer, const std::vector<std::string>& references);

}  // namespace kvedit::eval
