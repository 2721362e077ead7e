#include "eval/metrics/text.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

namespace kvedit::eval {

std::u32string code_points(std::string_view text) {
  std::u32string points;
  points.reserve(text.size());
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    UChar32 c = 0;
    U8_NEXT_OR_FFFD(text.data(), i, size, c);
    points += static_cast<char32_t>(c);
  }
  return points;
}

std::string utf8(std::u32string_view text) {
  std::string bytes;
  for (const char32_t c : text) {
    char buffer[U8_MAX_LENGTH];
    int size = 0;
    U8_APPEND_UNSAFE(buffer, size, static_cast<UChar32>(c));
    bytes.append(buffer, size);
  }
  return bytes;
}

std::u32string lower(std::u32string_view text) {
  icu::UnicodeString string = icu::UnicodeString::fromUTF8(utf8(text));
  std::string bytes;
  string.toLower(icu::Locale::getRoot()).toUTF8String(bytes);
  return code_points(bytes);
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f) || c == 0x85 ||
         (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_Z_MASK) != 0;
}

bool is_word(char32_t c) {
  const auto category = U_GET_GC_MASK(static_cast<UChar32>(c));
  return c == '_' || (category & (U_GC_L_MASK | U_GC_N_MASK)) != 0;
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

std::vector<std::u32string> split(std::u32string_view text) {
  std::vector<std::u32string> words;
  bool open = false;
  for (const char32_t c : text) {
    if (is_space(c)) {
      open = false;
      continue;
    }
    if (!open) words.emplace_back();
    open = true;
    words.back() += c;
  }
  return words;
}

std::vector<std::u32string> split(std::u32string_view text, char32_t separator) {
  std::vector<std::u32string> parts(1);
  for (const char32_t c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

std::vector<std::u32string> numbers(std::u32string_view text) {
  std::vector<std::u32string> found;
  bool open = false;
  for (const char32_t c : text) {
    const bool digit = u_charType(static_cast<UChar32>(c)) == U_DECIMAL_DIGIT_NUMBER;
    if (digit && !open) found.emplace_back();
    if (digit) found.back() += c;
    open = digit;
  }
  return found;
}

}  // namespace kvedit::eval
