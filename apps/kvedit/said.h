// The traces of an erased text in a transcript, in words for people.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "common.h"

namespace kvedit::cli {

/// Names a place "user:2 tokens 40..52", its message in front where there is one.
std::string place_name(const std::vector<MessageSpan>& messages, Span tokens);
/// Returns the sentence around a place, or a part of a long one.
std::string sentence_at(const Model& model, const std::vector<Token>& tokens, Span place);

/// Returns [{"name": "user:2", "begin", "end", "text"}].
Json messages_json(const Session& session);

/// How an offer to erase more is written: in a chat "/erase user:2", for a command "--span '...'".
enum class Offer { chat, flags };
/// Prints which words are still told, where, and how to erase that too. Prints nothing if there are none.
void print_mentions(std::ostream& out, const Session& session, const std::vector<Mention>& mentions,
                    Offer offer);
Json mentions_json(const Session& session, const std::vector<Mention>& mentions);

}  // namespace kvedit::cli
