// Conversations in the model's chat format, message by message.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "erase/method.h"
#include "model/tokenizer.h"

namespace kvedit {

/// A message as the template writes it.
struct MessageText {
  std::string role;
  std::string before;   // the format's own, as are control tokens in it
  std::string content;  // plain text: nothing in it is a control token
  std::string after;
  bool reply = false;  // the opening of the assistant's turn alone

  std::string text() const { return before + content + after; }
  /// begin: the model's begin token first, if it has one.
  std::vector<Token> encode(const Tokenizer& tokenizer, bool begin) const;
};

/// What the template makes of each message. One of which it makes nothing on its own (a system message that
/// it puts into the user's) is left out.
std::vector<MessageText> formatted(const Tokenizer& tokenizer, std::span<const Message> messages, bool reply);

/// The same for messages that follow those of a transcript; `closing` is what is missing of the end of a
/// reply that is still open.
struct Continuation {
  std::string closing;
  std::vector<MessageText> messages;
};
Continuation continuation(const Tokenizer& tokenizer, const Transcript& transcript,
                          std::span<const Message> messages, bool reply);

}  // namespace kvedit
