#include "session/mentions.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace kvedit {
namespace {

constexpr size_t kMostWords = 16;
constexpr size_t kLeastDigits = 2;
constexpr size_t kNameLetters = 3;
constexpr size_t kRareLetters = 5;

struct Word {
  size_t begin = 0, end = 0;  // bytes
  std::string folded;         // lower case; numbers without the marks that group digits
  size_t digits = 0, letters = 0;
  bool capital = false;  // its first letter
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::vector<Word> words(std::string_view text) {
  std::vector<Word> all;
  const auto size = static_cast<int32_t>(text.size());
  const auto digit = [&](int32_t i) { return i >= 0 && i < size && is_digit(text[i]); };
  bool inside = false;
  for (int32_t at = 0; at < size;) {
    const int32_t begin = at;
    UChar32 c = 0;
    U8_NEXT(text.data(), at, size, c);  // negative: no UTF-8, which is no letter
    const bool letter = c >= 0 && (u_isalpha(c) || (inside && u_hasBinaryProperty(c, UCHAR_GRAPHEME_EXTEND)));
    const bool between = inside && digit(begin - 1) && digit(at) &&
                         std::string_view(".,:/'-").find(text[begin]) != std::string::npos;
    if (!letter && !digit(begin) && !between) {
      inside = false;
      continue;
    }
    if (!inside) all.push_back({static_cast<size_t>(begin), 0, {}, 0, 0, u_isupper(c) != 0});
    inside = true;
    Word& word = all.back();
    word.end = static_cast<size_t>(at);
    word.digits += digit(begin);
    word.letters += letter;
    if (between && (c == ',' || c == '\'')) continue;
    std::array<uint8_t, U8_MAX_LENGTH> folded{};
    int32_t bytes = 0;
    U8_APPEND_UNSAFE(folded.data(), bytes, u_foldCase(c, U_FOLD_CASE_DEFAULT));
    word.folded.append(folded.begin(), folded.begin() + bytes);
  }
  return all;
}

// Where any word has a capital.
bool begins_sentence(std::string_view before) {
  constexpr std::string_view kBetween = " \t\"'([*_";
  const size_t last = before.find_last_not_of(kBetween);
  return last == std::string_view::npos ||
         std::string_view(".!?:;\n\r").find(before[last]) != std::string::npos;
}

bool is_telling(const Tokenizer& tokenizer, std::string_view text, const Word& word) {
  if (word.digits >= kLeastDigits) return true;
  if (word.capital && word.letters >= kNameLetters && !begins_sentence(text.substr(0, word.begin)))
    return true;
  if (word.letters < kRareLetters) return false;
  // Vocabularies have a token for each common word.
  return tokenizer.encode(" " + std::string(text.substr(word.begin, word.end - word.begin)), false, false)
             .size() > 1;
}

// Without the format's own.
std::string plain(const Tokenizer& tokenizer, std::span<const Token> tokens) {
  std::string text;
  for (const Token token : tokens) text += tokenizer.is_control(token) ? "\n" : tokenizer.piece(token);
  return text;
}

}  // namespace

std::vector<Mention> mentions(const Tokenizer& tokenizer, const TranscriptText& transcript,
                              std::span<const std::vector<Token>> erased, std::span<const Found> known) {
  std::map<std::string, Mention> telling;  // by folded word
  for (const std::vector<Token>& text_tokens : erased) {
    const std::string text = plain(tokenizer, text_tokens);
    for (const Word& word : words(text)) {
      if (!telling.contains(word.folded) && is_telling(tokenizer, text, word))
        telling[word.folded].word = text.substr(word.begin, word.end - word.begin);
    }
  }
  if (telling.empty()) return {};
  for (const Word& word : words(transcript.bytes())) {
    const auto said = telling.find(word.folded);
    if (said == telling.end()) continue;
    Found place = transcript.at(word.begin, word.end);
    const bool inside = std::any_of(known.begin(), known.end(), [&](const Found& f) {
      return place.tokens.begin >= f.tokens.begin && place.tokens.end <= f.tokens.end;
    });
    if (!inside) said->second.places.push_back(std::move(place));
  }
  std::vector<Mention> found;
  for (auto& [folded, mention] : telling) {
    if (!mention.places.empty()) found.push_back(std::move(mention));
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Mention& a, const Mention& b) { return a.places.size() < b.places.size(); });
  if (found.size() > kMostWords) found.resize(kMostWords);
  return found;
}

}  // namespace kvedit
