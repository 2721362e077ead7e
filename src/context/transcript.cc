#include "context/transcript.h"

#include <algorithm>

#include "model/tokenizer.h"

namespace kvedit {

Token Transcript::behind(int index) const { return index > 0 ? tokens[index - 1] : kNoToken; }

Span Transcript::message(size_t i) const {
  return {messages[i].begin, i + 1 < messages.size() ? messages[i + 1].begin : size()};
}

std::vector<Token> Transcript::text(Span span) const {
  return {tokens.begin() + span.begin, tokens.begin() + span.end};
}

void Transcript::cut(Span span) {
  // A reply that was opened with no tokens stays; one that is cut wholly goes.
  const bool waits = !messages.empty() && messages.back().reply && message(messages.size() - 1).size() == 0;
  tokens.erase(tokens.begin() + span.begin, tokens.begin() + span.end);
  positions.erase(positions.begin() + span.begin, positions.begin() + span.end);
  for (MessageMark& m : messages) {
    if (m.begin > span.begin) m.begin = std::max(span.begin, m.begin - span.size());
  }
  std::vector<MessageMark> left;
  for (size_t i = 0; i < messages.size(); i++) {
    if (message(i).size() > 0 || (waits && i + 1 == messages.size())) left.push_back(messages[i]);
  }
  messages = std::move(left);
}

void Transcript::forget_steered(Span positions) {
  std::erase_if(steered, [&](Position p) { return p >= positions.begin && p < positions.end; });
}

}  // namespace kvedit
