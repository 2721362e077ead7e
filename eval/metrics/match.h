// RULER's scores (arXiv 2404.06654): which of the references stand in the answer, in any case of letters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kvedit::eval {

/// The answer as RULER scores it: control characters are line breaks, without white space around it.
std::string trimmed_answer(std::string_view answer);
/// Share of the references that the answer contains. There is at least one.
double string_match_all(std::string_view answer, const std::vector<std::string>& references);
/// 1 if it contains any.
double string_match_part(std::string_view answer, const std::vector<std::string>& references);

}  // namespace kvedit::eval
