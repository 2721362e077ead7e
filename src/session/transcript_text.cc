#include "session/transcript_text.h"

#include <algorithm>
#include <cctype>
#include <unordered_map>

#include "session/loose_text.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr int kQuotedTokens = 8;  // shorter runs are common phrases

// Longest common runs of at least kQuotedTokens, one for each place in `tokens`.
// The format's control tokens are no part of them.
std::vector<Span> quotes(const Tokenizer& tokenizer, std::span<const Token> tokens,
                         std::span<const Token> erased) {
  const auto size = static_cast<int>(tokens.size());
  const auto erased_size = static_cast<int>(erased.size());
  std::unordered_multimap<Token, int> starts;
  for (int i = 0; i + kQuotedTokens <= erased_size; i++) starts.emplace(erased[i], i);
  std::vector<Span> found;
  for (int at = 0; at < size; at++) {
    int longest = 0;
    const auto range = starts.equal_range(tokens[at]);
    for (auto start = range.first; start != range.second; ++start) {
      int n = 0;
      while (at + n < size && start->second + n < erased_size &&
             tokens[at + n] == erased[start->second + n] && !tokenizer.is_control(tokens[at + n])) {
        n++;
      }
      longest = std::max(longest, n);
    }
    if (longest < kQuotedTokens) continue;
    found.push_back({at, at + longest});
    at += longest - 1;
  }
  return found;
}

}  // namespace

TranscriptText::TranscriptText(const Tokenizer& tokenizer, std::span<const Token> tokens) {
  ends_.reserve(tokens.size());
  Token behind = kNoToken;
  for (const Token token : tokens) {
    tokenizer.append_piece(bytes_, token, behind);
    ends_.push_back(bytes_.size());
    behind = token;
  }
}

Found TranscriptText::at(size_t begin, size_t end) const {
  const auto first = static_cast<int>(std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin());
  const auto last = static_cast<int>(std::lower_bound(ends_.begin(), ends_.end(), end) - ends_.begin());
  Found found = tokens({first, last + 1});
  found.widened = found.text.size() != end - begin;
  return found;
}

Found TranscriptText::tokens(Span span) const {
  const size_t first = span.begin > 0 ? ends_[span.begin - 1] : 0;
  return {span, false, bytes_.substr(first, ends_[span.end - 1] - first), ""};
}

const LooseText& TranscriptText::loose_text() const {
  if (!loose_) loose_.emplace(bytes_, kEveryDifference);
  return *loose_;
}

std::vector<Found> TranscriptText::find(std::string_view text, bool loose) const {
  std::vector<Found> found;
  if (loose) {
    for (const auto& [begin, end] : loose_text().find(LooseText(text, kEveryDifference))) {
      found.push_back(at(begin, end));
      found.back().differs = differences(trimmed(text), bytes_.substr(begin, end - begin));
    }
    return found;
  }
  for (size_t i = bytes_.find(text); i != std::string::npos; i = bytes_.find(text, i + 1)) {
    found.push_back(at(i, i + text.size()));
  }
  return found;
}

std::optional<Found> TranscriptText::nearest(std::string_view text) const {
  for (const bool loose : {false, true}) {
    const std::vector<Found> found = find(text, loose);
    if (!found.empty()) return found[0];
  }
  const LooseText wanted(trimmed(text), kEveryDifference);
  if (bytes_.empty() || wanted.characters().empty()) return std::nullopt;
  const LooseText::Nearest near = loose_text().nearest(wanted);
  if (3 * near.edits > near.characters) return std::nullopt;
  Found found = at(near.place.begin, near.place.end);
  found.differs = cat(near.edits, " of ", near.characters, " characters");
  return found;
}

std::vector<Found> repeats(const Tokenizer& tokenizer, const TranscriptText& text,
                           std::span<const Token> tokens, std::span<const Token> erased) {
  const std::string whole = tokenizer.decode(erased);
  std::vector<Found> found;
  if (!trimmed(whole).empty()) found = text.find(whole, true);
  for (const Span quote : quotes(tokenizer, tokens, erased)) {
    const bool inside = std::any_of(found.begin(), found.end(), [&](const Found& f) {
      return quote.begin < f.tokens.end && f.tokens.begin < quote.end;
    });
    if (!inside) found.push_back(text.tokens(quote));
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.tokens.begin < b.tokens.begin; });
  return found;
}

std::string_view trimmed(std::string_view text) {
  const auto space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace kvedit
