// The text that a cache was made of: tokens, their positions, and the messages they stand in.
#pragma once

#include <string>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

/// Where a message of a conversation begins; it ends where the next one does, or the transcript.
struct MessageMark {
  std::string role;
  int begin = 0;       // token
  bool reply = false;  // only its opening was given, maybe of no tokens: the model writes the rest
  bool open = false;   // its closing is missing: the next message of its role goes on in it
};

/// Tokens and their positions, ascending.
struct Transcript {
  std::vector<Token> tokens;
  std::vector<Position> positions;
  std::vector<Position> steered;      // of entries that stand for erased tokens, ascending
  std::vector<MessageMark> messages;  // ascending
  std::vector<Message> waiting;       // messages that the chat template can only say with the next one

  int size() const { return static_cast<int>(tokens.size()); }
  Position next_position() const { return positions.empty() ? 0 : positions.back() + 1; }
  /// Returns the token in front of an index, kNoToken at the beginning.
  Token behind(int index) const;
  /// Returns the tokens of the i-th message.
  Span message(size_t i) const;
  /// Copies the tokens of a span.
  std::vector<Token> text(Span span) const;
  /// Returns from the first position of a span's tokens to one after the last.
  Span positions_of(Span span) const { return {positions[span.begin], positions[span.end - 1] + 1}; }
  /// Removes tokens, and messages of which no token is left; positions keep the gap.
  void cut(Span span);
  /// Drops the steering states at these positions.
  void forget_steered(Span positions);
};

}  // namespace kvedit
