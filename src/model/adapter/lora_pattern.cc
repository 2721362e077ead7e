#include "model/adapter/lora_pattern.h"

#include <cctype>
#include <string_view>

#include "tools/text.h"

namespace kvedit {
namespace {

constexpr size_t kMaxLength = 256;

/// Whether ECMAScript's grammar gives the pattern the meaning that Python's gives it.
bool reads_the_same(std::string_view pattern) {
  if (pattern.empty() || pattern.size() > kMaxLength) return false;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); i++) {
    const char c = pattern[i];
    const char next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (c == '\\') {
      constexpr std::string_view kLetters = "dDwWsS";
      const bool letter = std::isalnum(static_cast<unsigned char>(next)) != 0;
      if (std::iscntrl(static_cast<unsigned char>(next)) != 0) return false;
      if (letter && kLetters.find(next) == std::string_view::npos) return false;
      i++;
    } else if (in_class) {
      if (c == '[') return false;
      in_class = c != ']';
    } else if (c == '[') {
      if (next == ']' || next == '^') return false;
      in_class = true;
    } else if (c == '{' || c == '}' || (c == '(' && next == '?') ||
               std::isprint(static_cast<unsigned char>(c)) == 0) {
      return false;
    }
  }
  return !in_class;
}

}  // namespace

LoraPattern::LoraPattern(const std::string& pattern) {
  if (!reads_the_same(pattern)) {
    fail(ErrorCode::unsupported, "model", "pattern \"", pattern.substr(0, kMaxLength),
         "\" is none of the regular expressions that are supported");
  }
  try {
    // Polynomial: libstdc++ then follows all alternatives at once, so that no pattern takes exponential time.
    regex_.assign("(?:.*\\.)?(?:" + pattern + ")",
                  std::regex::ECMAScript | std::regex_constants::__polynomial);
  } catch (const std::regex_error& error) {
    fail(ErrorCode::unsupported, "model", "pattern \"", pattern,
         "\" is no regular expression: ", error.what());
  }
}

}  // namespace kvedit
