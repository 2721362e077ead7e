#include "eval/wording.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>

#include "eval/metrics/text.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

constexpr size_t kShort = 3;  // letters of a word in capitals that is no other: "US", "us"
constexpr std::array<std::string_view, 11> kNumberWords = {
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"};
constexpr std::array<std::string_view, 41> kStopWords = {
    "a",    "an",   "and", "are", "as",  "at",   "be",    "by",   "for", "from",  "had",
    "has",  "have", "he",  "her", "his", "in",   "into",  "is",   "it",  "its",   "no",
    "nor",  "not",  "of",  "on",  "or",  "she",  "so",    "that", "the", "their", "then",
    "they", "this", "to",  "us",  "was", "were", "which", "with"};

bool is_number(UChar32 c) { return u_isdigit(c) != 0; }

bool is_part(UChar32 c) { return (U_GET_GC_MASK(c) & (U_GC_L_MASK | U_GC_N_MASK | U_GC_M_MASK)) != 0; }

// Decomposed, without marks, in lower case.
std::string folded(std::string_view text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* const decomposing = icu::Normalizer2::getNFKDInstance(error);
  if (U_FAILURE(error)) fail(ErrorCode::unsupported, "eval", "ICU has no NFKD: ", u_errorName(error));
  const icu::UnicodeString whole = decomposing->normalize(
      icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size()))), error);
  icu::UnicodeString kept;
  for (int32_t i = 0; i < whole.length(); i = whole.moveIndex32(i, 1)) {
    const UChar32 c = whole.char32At(i);
    if ((U_GET_GC_MASK(c) & U_GC_M_MASK) == 0) kept.append(c);
  }
  std::string bytes;
  kept.foldCase().toUTF8String(bytes);
  return bytes;
}

std::string plain_of(std::string_view text) {
  const bool ascii =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
  std::string plain;
  if (ascii) {
    for (const char c : text) plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  } else {
    plain = folded(text);
  }
  std::erase(plain, ',');  // of thousands
  if (plain == "twice") return "2";
  const auto* const number = std::find(kNumberWords.begin(), kNumberWords.end(), plain);
  return number == kNumberWords.end() ? plain : std::to_string(number - kNumberWords.begin() + 2);
}

bool starts_at(const WordList& text, size_t at, const WordList& phrase) {
  return at + phrase.size() <= text.size() &&
         std::equal(phrase.begin(), phrase.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                    [](const Word& wanted, const Word& word) { return same_word(word, wanted); });
}

}  // namespace

WordList words_of(std::string_view text) {
  const auto size = static_cast<int32_t>(text.size());
  const auto code_point = [&](int32_t& at) {
    UChar32 c = 0;
    U8_NEXT_OR_FFFD(text.data(), at, size, c);
    return c;
  };
  WordList words;
  UChar32 before = 0;
  bool open = false;
  for (int32_t at = 0; at < size;) {
    const auto begin = static_cast<size_t>(at);
    const UChar32 c = code_point(at);
    bool part = is_part(c);
    if (!part && open && (c == '.' || c == ',') && is_number(before) && at < size) {
      int32_t ahead = at;
      part = is_number(code_point(ahead));
    }
    if (part && !open) words.push_back({begin, begin, {}, {}});
    if (part) words.back().end = static_cast<size_t>(at);
    open = part;
    before = c;
  }
  for (Word& word : words) {
    word.text = text.substr(word.begin, word.end - word.begin);
    word.plain = plain_of(word.text);
  }
  return words;
}

bool is_capital(const Word& word, size_t letter) {
  const std::u32string letters = code_points(word.text);
  return letter < letters.size() && u_isupper(static_cast<UChar32>(letters[letter])) != 0;
}

bool has_digit(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_stop_word(const Word& word) {
  if (has_digit(word.plain)) return false;
  if (word.plain.size() == 1) return true;
  return !is_capital(word, 1) &&
         std::find(kStopWords.begin(), kStopWords.end(), word.plain) != kStopWords.end();
}

bool same_word(const Word& text, const Word& phrase) {
  if (text.plain != phrase.plain) return false;
  if (phrase.plain.size() <= kShort && is_capital(phrase, 1)) return text.text == phrase.text;
  return !is_capital(phrase, 0) || is_capital(text, 0);
}

bool says(const WordList& text, const WordList& phrase) {
  if (phrase.empty()) return false;
  for (size_t i = 0; i < text.size(); i++) {
    if (starts_at(text, i, phrase)) return true;
  }
  return false;
}

bool says(std::string_view text, std::string_view phrase) { return says(words_of(text), words_of(phrase)); }

std::string replaced(std::string_view text, const Replacements& replacements) {
  const WordList words = words_of(text);
  std::string result;
  size_t done = 0;  // bytes
  for (size_t i = 0; i < words.size();) {
    const std::pair<WordList, std::string>* best = nullptr;
    for (const auto& one : replacements) {
      if (one.first.empty() || !starts_at(words, i, one.first)) continue;
      if (!best || one.first.size() > best->first.size()) best = &one;
    }
    if (!best) {
      i++;
      continue;
    }
    result.append(text.substr(done, words[i].begin - done)).append(best->second);
    i += best->first.size();
    done = words[i - 1].end;
  }
  return result.append(text.substr(done));
}

}  // namespace kvedit::eval
