#include "session/mentions.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "model/utf8.h"

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

// Negative: no UTF-8, which is no letter.
bool is_letter(UChar32 c, bool inside) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return u_isalpha(c) || (inside && u_hasBinaryProperty(c, UCHAR_GRAPHEME_EXTEND));
}

void append_folded(std::string& text, UChar32 c) {
  if (c < 0x80) {
    text += static_cast<char>(ascii_lower(c));
    return;
  }
  std::array<uint8_t, U8_MAX_LENGTH> folded{};
  int32_t bytes = 0;
  U8_APPEND_UNSAFE(folded.data(), bytes, u_foldCase(c, U_FOLD_CASE_DEFAULT));
  text.append(folded.begin(), folded.begin() + bytes);
}

// Calls visit(const Word&) for each word; the next one is written over it.
template <typename Visit>
void each_word(std::string_view text, const Visit& visit) {
  const auto size = static_cast<int32_t>(text.size());
  const auto digit = [&](int32_t i) { return i >= 0 && i < size && is_digit(text[i]); };
  Word word;
  bool inside = false;
  for (int32_t at = 0; at < size;) {
    const int32_t begin = at;
    UChar32 c = 0;
    U8_NEXT(text.data(), at, size, c);
    const bool letter = is_letter(c, inside);
    const bool between = inside && digit(begin - 1) && digit(at) &&
                         std::string_view(".,:/'-").find(text[begin]) != std::string::npos;
    if (!letter && !digit(begin) && !between) {
      if (inside) visit(std::as_const(word));
      inside = false;
      continue;
    }
    if (!inside) {
      word.begin = static_cast<size_t>(begin);
      word.folded.clear();
      word.digits = word.letters = 0;
      word.capital = u_isupper(c) != 0;
    }
    inside = true;
    word.end = static_cast<size_t>(at);
    word.digits += digit(begin);
    word.letters += letter;
    if (!between || (c != ',' && c != '\'')) append_folded(word.folded, c);
  }
  if (inside) visit(std::as_const(word));
}

// Where any word has a capital.
bool begins_sentence(std::string_view before) {
  constexpr std::string_view kBetween = " \t\"'([*_";
  const size_t last = before.find_last_not_of(kBetween);
  return last == std::string_view::npos ||
         std::string_view(".!?:;\n\r").find(before[last]) != std::string::npos;
}

// A word of an erased text.
struct Said {
  std::string word;
  bool telling = false;                     // a number or a name; else perhaps a rare word
  std::vector<LooseText::Place> elsewhere;  // in the transcript
};

using Words = std::unordered_map<std::string, Said>;  // by folded word

void add_words(Words& words, const std::string& text) {
  each_word(text, [&](const Word& word) {
    const bool name = word.capital && word.letters >= kNameLetters &&
                      !begins_sentence(std::string_view(text).substr(0, word.begin));
    const bool telling = name || word.digits >= kLeastDigits;
    if (!telling && word.letters < kRareLetters) return;
    Said& said = words[word.folded];
    if (said.word.empty() || (telling && !said.telling))
      said.word = text.substr(word.begin, word.end - word.begin);
    said.telling |= telling;
  });
}

// Vocabularies have a token for each common word. All words are encoded at once: some pre-tokenizers cost as
// much for a word as for a page.
void drop_common(const Tokenizer& tokenizer, Words& words) {
  std::string doubtful = "-";  // so that a space in front of every word is the word's own
  for (const auto& [folded, said] : words) {
    if (!said.telling) doubtful += " " + said.word;
  }
  std::unordered_set<std::string> pieces;
  for (const Token token : tokenizer.encode(doubtful, false, false)) pieces.insert(tokenizer.piece(token));
  std::erase_if(words, [&](const auto& entry) {
    const Said& said = entry.second;
    return !said.telling && (pieces.contains(" " + said.word) || pieces.contains(said.word));
  });
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
  Words words;
  for (const std::vector<Token>& tokens : erased) add_words(words, plain(tokenizer, tokens));
  if (words.empty()) return {};
  each_word(transcript.bytes(), [&](const Word& word) {
    const auto said = words.find(word.folded);
    if (said != words.end()) said->second.elsewhere.push_back({word.begin, word.end});
  });
  std::erase_if(words, [](const auto& entry) { return entry.second.elsewhere.empty(); });
  drop_common(tokenizer, words);
  std::vector<Mention> found;
  for (const auto& [folded, said] : words) {
    Mention mention{said.word, {}};
    for (const auto& [begin, end] : said.elsewhere) {
      Found place = transcript.at(begin, end);
      const bool inside = std::any_of(known.begin(), known.end(), [&](const Found& f) {
        return place.tokens.begin >= f.tokens.begin && place.tokens.end <= f.tokens.end;
      });
      if (!inside) mention.places.push_back(std::move(place));
    }
    if (!mention.places.empty()) found.push_back(std::move(mention));
  }
  std::sort(found.begin(), found.end(), [](const Mention& a, const Mention& b) {
    return std::pair(a.places.size(), a.word) < std::pair(b.places.size(), b.word);
  });
  if (found.size() > kMostWords) found.resize(kMostWords);
  return found;
}

}  // namespace kvedit
