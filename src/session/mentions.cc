#include "session/mentions.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "model/utf8.h"
#include "session/transcript_text.h"

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

struct Character {
  uint32_t code = 0;
  size_t bytes = 1;
};

// What is no whole character counts as one byte of no letter.
Character character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t bytes = byte(0) < 0x80    ? 1
                       : byte(0) >= 0xF0 ? 4
                       : byte(0) >= 0xE0 ? 3
                       : byte(0) >= 0xC0 ? 2
                                         : 0;
  if (bytes == 1) return {byte(0), 1};
  if (bytes == 0 || valid_utf8_bytes(text.substr(0, bytes)) < bytes || text.size() < bytes) return {0, 1};
  uint32_t code = byte(0) & (0x7FU >> bytes);
  for (size_t i = 1; i < bytes; i++) code = code << 6U | (byte(i) & 0x3FU);
  return {code, bytes};
}

// Spaces, punctuation and symbols above ASCII come in blocks.
bool is_letter(uint32_t c) {
  if (c < 0x80) return std::isalpha(static_cast<int>(c)) != 0;
  if (c < 0xC0) return c == 0xAA || c == 0xB5 || c == 0xBA;
  return c != 0xD7 && c != 0xF7 && !(c >= 0x2000 && c < 0x2C00) && !(c >= 0x3000 && c < 0x3040) &&
         !(c >= 0xFF00 && c < 0xFF10) && c < 0xFFF0;
}

// Latin, Greek and Cyrillic capitals; other scripts have none, or stay as they are.
uint32_t lower(uint32_t c) {
  if (c < 0x80) return static_cast<uint32_t>(std::tolower(static_cast<int>(c)));
  if ((c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9) || (c >= 0x410 && c <= 0x42F))
    return c + 32;
  if (c >= 0x400 && c <= 0x40F) return c + 80;
  if (c >= 0x100 && c <= 0x137) return c | 1U;
  if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E)) return c + (c & 1U);
  if (c >= 0x14A && c <= 0x177) return c | 1U;
  return c;
}

std::vector<Word> words(std::string_view text) {
  std::vector<Word> all;
  for (size_t at = 0; at < text.size();) {
    const Character first = character(text.substr(at));
    if (!is_digit(text[at]) && !is_letter(first.code)) {
      at += first.bytes;
      continue;
    }
    Word word{at, at, {}, 0, 0, lower(first.code) != first.code};
    while (at < text.size()) {
      const Character c = character(text.substr(at));
      const bool between = at > word.begin && is_digit(text[at - 1]) && at + 1 < text.size() &&
                           is_digit(text[at + 1]) &&
                           std::string_view(".,:/'-").find(text[at]) != std::string::npos;
      if (is_digit(text[at])) {
        word.digits++;
      } else if (is_letter(c.code)) {
        word.letters++;
      } else if (!between) {
        break;
      }
      if (c.code < 0x80) {
        const auto folded = static_cast<char>(lower(c.code));
        if (!between || (folded != ',' && folded != '\'')) word.folded += folded;
      } else {  // two bytes hold all that has a lower case here
        const uint32_t folded = lower(c.code);
        if (folded == c.code) {
          word.folded += text.substr(at, c.bytes);
        } else {
          word.folded +=
              {static_cast<char>(0xC0U | folded >> 6U), static_cast<char>(0x80U | (folded & 0x3FU))};
        }
      }
      at += c.bytes;
    }
    word.end = at;
    all.push_back(std::move(word));
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

std::vector<Mention> mentions(const Tokenizer& tokenizer, std::span<const Token> tokens,
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
  const TranscriptText transcript(tokenizer, tokens);
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
