// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string_view>

namespace kvedit {

/// Counts the bytes from the start that are whole, valid characters; text.size() if all are.
size_t valid_utf8_bytes(std::string_view text);

/// Counts the bytes at the end that begin a character that the next bytes may finish; 0 to 3.
size_t unfinished_utf8_bytes(std::string_view text);

/// Returns the text without the end of a character that the text begins with and the beginning of one that it
/// ends with.
std::string_view whole_characters(std::string_view text);

/// Returns the small letter of a capital from A to Z; any other character as it is.
constexpr char32_t ascii_lower(char32_t c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; }

/// Returns at most `bytes` bytes of valid text, cut between characters.
std::string_view utf8_prefix(std::string_view text, size_t bytes);

}  // namespace kvedit
