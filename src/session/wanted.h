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

/// Tokenises the conversation message by message. A message whose text is cached keeps the tokens it has
/// there, since a model does not always write a text in the tokens that it would be read in. One that has
/// lost its end, white space or a part keeps them where it is unchanged.
Wanted wanted(const Tokenizer& tokenizer, const Transcript& transcript, std::span<const Message> messages,
              bool reply);

}  // namespace kvedit
