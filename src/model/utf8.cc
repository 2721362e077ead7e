#include "model/utf8.h"

#include <algorithm>
#include <cstdint>

namespace kvedit {
namespace {

/// Length of the valid character at `at`, 0 if there is none. RFC 3629, section 4: only the second byte's
/// range depends on the first.
size_t character_bytes(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(i < text.size() ? text[i] : 0); };
  const uint8_t first = byte(at);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  if (first < 0xC2 || first > 0xF4) return 0;
  if (first == 0xE0) low = 0xA0;   // overlong
  if (first == 0xED) high = 0x9F;  // surrogates
  if (first == 0xF0) low = 0x90;   // overlong
  if (first == 0xF4) high = 0x8F;  // above U+10FFFF
  if (byte(at + 1) < low || byte(at + 1) > high) return 0;
  for (size_t i = 2; i < length; i++) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

size_t valid_utf8_bytes(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = character_bytes(text, at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

size_t unfinished_utf8_bytes(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); back++) {
    const auto byte = static_cast<uint8_t>(text[text.size() - back]);
    if (byte >= 0x80 && byte < 0xC0) continue;  // a continuation byte
    const size_t length = byte > 0xF4 ? 1 : byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

std::string_view whole_characters(std::string_view text) {
  text.remove_suffix(unfinished_utf8_bytes(text));
  for (int i = 0; i < 3 && !text.empty() && (static_cast<uint8_t>(text[0]) & 0xC0) == 0x80; i++)
    text.remove_prefix(1);
  return text;
}

std::string_view utf8_prefix(std::string_view text, size_t bytes) {
  const std::string_view cut = text.substr(0, bytes);
  return cut.substr(0, valid_utf8_bytes(cut));
}

}  // namespace kvedit
