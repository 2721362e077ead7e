// Text as Python sees it, code point by code point: the official scoring functions are Python's, and equal
// scores need equal letters, spaces and digits. Characters are ICU's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kvedit::eval {

/// Code points; bytes that are not UTF-8 become U+FFFD.
std::u32string code_points(std::string_view text);
std::string utf8(std::u32string_view text);

/// str.lower()
std::u32string lower(std::u32string_view text);
/// str.isspace() of one character, what `\s` matches
bool is_space(char32_t c);
/// what `\w` matches
bool is_word(char32_t c);
/// string.punctuation
bool is_ascii_punctuation(char32_t c);

/// str.split()
std::vector<std::u32string> split(std::u32string_view text);
/// str.split(separator)
std::vector<std::u32string> split(std::u32string_view text, char32_t separator);
/// re.findall(r"\d+", text)
std::vector<std::u32string> numbers(std::u32string_view text);

}  // namespace kvedit::eval
