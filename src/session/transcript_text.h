// The transcript as bytes, and the way back from bytes to tokens.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvedit/erase.h"
#include "model/tokenizer.h"
#include "session/loose_text.h"

namespace kvedit {

class TranscriptText {
 public:
  TranscriptText(const Tokenizer& tokenizer, std::span<const Token> tokens);
  const std::string& bytes() const { return bytes_; }
  /// Returns the tokens that cover bytes [begin, end).
  Found at(size_t begin, size_t end) const;
  /// Finds every place of `text`, which is not empty.
  std::vector<Found> find(std::string_view text, bool loose = false) const;
  /// Finds the place most like it, if two thirds of it are alike.
  std::optional<Found> nearest(std::string_view text) const;
  Found tokens(Span span) const;

 private:
  const LooseText& loose_text() const;

  std::string bytes_;
  std::vector<size_t> ends_;                // of each token, in bytes
  mutable std::optional<LooseText> loose_;  // of the bytes, once it is asked for
};

/// Finds places where `tokens`, of which `text` is the text, still say what `erased` said: all of its text,
/// found loosely, or a run of eight and more of its tokens.
std::vector<Found> repeats(const Tokenizer& tokenizer, const TranscriptText& text,
                           std::span<const Token> tokens, std::span<const Token> erased);

/// Returns the text without white space at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace kvedit
