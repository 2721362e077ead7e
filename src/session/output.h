// The text of a generation on its way out.
#pragma once

#include <string>
#include <string_view>

#include "kvedit/generate.h"

namespace kvedit {

/// Hands text on as it comes, but holds back what may turn out to be a stop string or half a character.
class Output {
 public:
  /// begun: bytes of a character in front, which the first token may finish.
  Output(const GenerateOptions& options, std::string begun) : options_(options), raw_(std::move(begun)) {}

  /// Returns what this piece lets out; until the next call.
  std::string_view add(std::string_view piece);
  /// Tells whether a stop string was made, and which.
  const std::string* stopped() const { return stop_; }
  /// Returns what was held back, which the end lets out.
  std::string_view rest() { return send(text_.size()); }
  /// Hands over the whole text, without the stop string.
  std::string text() && { return std::move(text_); }

 private:
  void take_characters(std::string_view piece);
  size_t held() const;
  std::string_view send(size_t until);

  const GenerateOptions& options_;
  std::string raw_;  // an unfinished character
  std::string text_;
  size_t sent_ = 0;
  const std::string* stop_ = nullptr;
};

}  // namespace kvedit
