#include "eval/metrics/match.h"

#include <algorithm>

#include "eval/metrics/text.h"

namespace kvedit::eval {
namespace {

std::u32string stripped(std::u32string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return std::u32string(text);
}

auto matches(std::string_view answer, const std::vector<std::string>& references) {
  const std::u32string text = lower(code_points(answer));
  return std::count_if(references.begin(), references.end(), [&](const std::string& reference) {
    return text.find(lower(code_points(reference))) != std::string::npos;
  });
}

}  // namespace

std::string trimmed_answer(std::string_view answer) {
  std::u32string text = stripped(code_points(answer));
  std::replace_if(
      text.begin(), text.end(), [](char32_t c) { return c < 0x20; }, U'\n');
  return utf8(stripped(text));
}

double string_match_all(std::string_view answer, const std::vector<std::string>& references) {
  return static_cast<double>(matches(answer, references)) / static_cast<double>(references.size());
}

double string_match_part(std::string_view answer, const std::vector<std::string>& references) {
  return matches(answer, references) > 0 ? 1 : 0;
}

}  // namespace kvedit::eval
