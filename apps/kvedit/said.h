// What a transcript still says of an erased text, in words for people.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "common.h"

namespace kvedit::cli {

/// "user:2 tokens 40..52" for a place, its message in front where there is one.
std::string place_name(const std::vector<MessageSpan>& messages, Span tokens);
/// The sentence around a place, or the nearest of it.
std::string sentence_at(const Model& model, const std::vector<Token>& tokens, Span place);

/// [{"name": "user:2", "begin", "end", "text"}]
Json messages_json(const Session& session);

/// How an offer to erase more is written: in a chat "/erase user:2", for a command "--span '...'".
enum class Offer { chat, flags };
/// Says which words are still told, where, and how to erase that too. Nothing if there are none.
void print_mentions(std::ostream& out, const Session& session, const std::vector<Mention>& mentions,
                    Offer offer);
Json mentions_json(const Session& session, const std::vector<Mention>& mentions);

}  // namespace kvedit::cli
