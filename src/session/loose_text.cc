#include "session/loose_text.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "model/utf8.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr char32_t kNoCharacter = 0xDC00;  // and the byte: a half surrogate stands for what is no UTF-8
constexpr size_t kMostCharacters = 512;    // of a text that is compared with every place

constexpr std::u32string_view kSingleQuotes = U"\u2018\u2019\u201A\u201B\u2039\u203A\u2032\u00B4`";
constexpr std::u32string_view kDoubleQuotes = U"\u201C\u201D\u201E\u201F\u00AB\u00BB\u2033";
constexpr std::u32string_view kDashes = U"\u2010\u2011\u2012\u2013\u2014\u2015\u2212";

// The plain form of a typographic mark; 0 for any other character.
char32_t plain_mark(char32_t c) {
  if (kSingleQuotes.find(c) != std::u32string_view::npos) return U'\'';
  if (kDoubleQuotes.find(c) != std::u32string_view::npos) return U'"';
  return kDashes.find(c) != std::u32string_view::npos ? U'-' : 0;
}

bool is_white(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0; }

// The character at `at`, which moves behind it.
char32_t next_character(std::string_view text, size_t& at) {
  const auto first = static_cast<unsigned char>(text[at]);
  const auto size = static_cast<int32_t>(std::min<size_t>(text.size() - at, 4));
  const char* const bytes = text.data() + at;
  int32_t used = 0;
  UChar32 c = 0;
  U8_NEXT(bytes, used, size, c);
  at += c < 0 ? 1 : static_cast<size_t>(used);
  return c < 0 ? kNoCharacter + first : static_cast<char32_t>(c);
}

// ICU makes its normalizers at their first use. Both are asked for once here: our guard orders threads where
// a race checker sees it, ICU's own guard is in code that it does not see.
const icu::Normalizer2* normalizer(bool fold_case) {
  struct Normalizers {
    UErrorCode error = U_ZERO_ERROR;
    const icu::Normalizer2* plain = icu::Normalizer2::getNFKCInstance(error);
    const icu::Normalizer2* folding = icu::Normalizer2::getNFKCCasefoldInstance(error);
  };
  static const Normalizers all;
  if (U_FAILURE(all.error)) return nullptr;  // without ICU's data: then text is taken as it is
  return fold_case ? all.folding : all.plain;
}

}  // namespace

LooseText::LooseText(std::string_view text, unsigned differences) {
  characters_.reserve(text.size());
  from_.reserve(text.size());
  const icu::Normalizer2* const boundaries = normalizer(true);
  const auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0; };
  const bool folds_case = (differences & kLetterCase) != 0;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const unsigned first = byte(at);
    if (first > ' ' && first < 0x7F && first != '`' && byte(at + 1) < 0x80) {  // most text
      add(folds_case ? ascii_lower(first) : first, {begin, ++at});
      continue;
    }
    const char32_t c = next_character(text, at);
    const char32_t mark = plain_mark(c);
    if (is_white(c)) {
      const bool folded = (differences & kWhiteSpace) != 0;
      if (!folded || characters_.empty() || characters_.back() != U' ') {
        add(folded ? U' ' : c, {begin, at});
      } else {
        from_.back().end = at;
      }
    } else if (mark != 0) {
      add((differences & kPunctuation) != 0 ? mark : c, {begin, at});
    } else {
      // A letter and the marks that combine with it are normalised together.
      for (size_t next = at; next < text.size() && boundaries; at = next) {
        const char32_t following = next_character(text, next);
        if (following < 0x300 || boundaries->hasBoundaryBefore(static_cast<UChar32>(following))) break;
      }
      add_normalised(text.substr(begin, at - begin), {begin, at}, differences);
    }
  }
}

void LooseText::add(char32_t character, Place from) {
  characters_ += character;
  from_.push_back(from);
}

void LooseText::add_normalised(std::string_view text, Place from, unsigned differences) {
  const bool fold = (differences & kLetterCase) != 0;
  const auto first = static_cast<unsigned char>(text[0]);
  if (text.size() == 1) {
    if (first >= 0x80) return add(kNoCharacter + first, from);
    return add(fold ? ascii_lower(first) : first, from);
  }
  icu::UnicodeString all = icu::UnicodeString::fromUTF8({text.data(), static_cast<int32_t>(text.size())});
  const icu::Normalizer2* const to = normalizer(fold);
  UErrorCode error = U_ZERO_ERROR;
  if ((differences & kUnicodeForm) != 0 && to) {
    all = to->normalize(all, error);
  } else if (fold) {
    all.foldCase();
  }
  for (int32_t i = 0; i < all.length(); i = all.moveIndex32(i, 1))
    add(static_cast<char32_t>(all.char32At(i)), from);
}

bool LooseText::border(size_t at) const {
  return at == 0 || at == from_.size() || from_[at].begin != from_[at - 1].begin;
}

std::u32string_view LooseText::trimmed() const {
  std::u32string_view text = characters_;
  while (!text.empty() && is_white(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_white(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<LooseText::Place> LooseText::find(const LooseText& text) const {
  const std::u32string_view wanted = text.trimmed();
  std::vector<Place> found;
  if (wanted.empty()) return found;
  for (size_t i = characters_.find(wanted); i != std::u32string::npos; i = characters_.find(wanted, i + 1)) {
    if (border(i) && border(i + wanted.size())) found.push_back(place(i, i + wanted.size()));
  }
  return found;
}

// Sellers (1980): edit distance in which the text may begin and end anywhere.
LooseText::Nearest LooseText::nearest(const LooseText& text) const {
  const std::u32string_view wanted = text.trimmed().substr(0, kMostCharacters);
  const size_t n = wanted.size();
  struct Way {
    size_t edits, begin;
  };
  std::vector<Way> row(n + 1), next(n + 1);  // [characters of `wanted` so far]
  for (size_t j = 0; j <= n; j++) row[j] = {j, 0};
  Nearest best{{}, n, n};
  for (size_t i = 1; i <= characters_.size(); i++) {
    next[0] = {0, i};
    for (size_t j = 1; j <= n; j++) {
      const size_t change = characters_[i - 1] == wanted[j - 1] ? 0 : 1;
      Way way = {row[j - 1].edits + change, row[j - 1].begin};
      if (row[j].edits + 1 < way.edits) way = {row[j].edits + 1, row[j].begin};
      if (next[j - 1].edits + 1 < way.edits) way = {next[j - 1].edits + 1, next[j - 1].begin};
      next[j] = way;
    }
    if (next[n].edits < best.edits) best = {place(next[n].begin, i), next[n].edits, n};
    std::swap(row, next);
  }
  return best;
}

std::string differences(std::string_view a, std::string_view b) {
  constexpr std::array<std::pair<Difference, const char*>, 4> kNames = {
      {{kLetterCase, "case"},
       {kWhiteSpace, "white space"},
       {kPunctuation, "quotation marks or dashes"},
       {kUnicodeForm, "Unicode form"}}};
  std::vector<std::string_view> all;
  for (const auto& [difference, name] : kNames) {
    const unsigned others = kEveryDifference & ~difference;
    if (LooseText(a, others).characters() != LooseText(b, others).characters()) all.emplace_back(name);
  }
  return join(all);
}

}  // namespace kvedit
