// The tokens of a conversation as a session should hold it, of which it keeps what it can.
#pragma once

#include <span>
#include <vector>

#include "context/transcript.h"
#include "model/tokenizer.h"

namespace kvedit {

struct Wanted {
  std::vector<Token> tokens;
  std::vector<MessageMark> messages;
  std::vector<Message> waiting;
};

/// Message by message. One whose text is cached keeps the tokens it has there, since a model does not always
/// write a text in the tokens that it would be read in. What such a message has become, by losing its end,
/// white space or a part of it, keeps them where it is the same.
Wanted wanted(const Tokenizer& tokenizer, const Transcript& transcript, std::span<const Message> messages,
              bool reply);

}  // namespace kvedit
