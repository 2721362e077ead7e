// Conversations in the model's chat format, message by message.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "context/transcript.h"
#include "model/tokenizer.h"

namespace kvedit {

/// A message as the template writes it.
struct MessageText {
  std::string role;
  std::string before;   // the format's own, as are control tokens in it
  std::string content;  // plain text: nothing in it is a control token
  std::string after;
  bool reply = false;  // the opening of the assistant's turn alone; it may be empty

  /// Tokenises it behind another token.
  std::vector<Token> encode(const Tokenizer& tokenizer, Token behind) const;
};

/// A conversation cut into the text that the template makes of each message. A message that it can only say
/// together with the next one (Gemma puts a system message into the user's turn) waits for that; then no
/// reply is opened either.
struct Formatted {
  std::vector<MessageText> messages;
  std::vector<Message> waiting;
};

/// Throws Error(invalid_argument) for a role that is none of system, developer, user, assistant, tool: a
/// template writes it as it is, and any text would be read as the format's own.
void check_roles(std::span<const Message> messages);

/// Formats messages one by one. Throws Error(unsupported) naming a message of which the template says
/// nothing, or not the text as it is; Error(invalid_argument) for an unknown role.
Formatted formatted(const Tokenizer& tokenizer, std::span<const Message> messages, bool reply);

/// Messages that follow those of a transcript. Where its last turn is open and the first message has that
/// role, it goes on there: its text is in front of `closing`, the missing end of that turn. stays_open: the
/// last of the messages is not closed.
struct Continuation {
  bool goes_on = false;
  std::vector<Token> closing;
  Formatted next;
};
Continuation continuation(const Tokenizer& tokenizer, const Transcript& transcript,
                          std::span<const Message> messages, bool reply, bool stays_open = false);

}  // namespace kvedit
