#include "said.h"

#include <algorithm>
#include <map>
#include <ostream>
#include <set>

#include "table.h"

namespace kvedit::cli {
namespace {

constexpr int kSentenceTokens = 24;  // looked at on either side of a place
constexpr size_t kPlaces = 4;        // shown of a word
constexpr size_t kOffers = 3;

const MessageSpan* message_of(const std::vector<MessageSpan>& messages, Span tokens) {
  for (const MessageSpan& message : messages) {
    if (message.tokens.begin <= tokens.begin && tokens.begin < message.tokens.end) return &message;
  }
  return nullptr;
}

std::string message_name(const std::vector<MessageSpan>& messages, const MessageSpan& message) {
  const auto count = std::count_if(messages.begin(), messages.end(), [&](const MessageSpan& other) {
    return other.role == message.role && other.tokens.begin <= message.tokens.begin;
  });
  return message.role + ":" + std::to_string(count);
}

std::string quoted(std::string text) {
  for (size_t at = text.find('\''); at != std::string::npos; at = text.find('\'', at + 4))
    text.replace(at, 1, "'\\''");
  return "'" + text + "'";
}

}  // namespace

std::string place_name(const std::vector<MessageSpan>& messages, Span tokens) {
  const MessageSpan* const message = message_of(messages, tokens);
  return (message ? message_name(messages, *message) + " " : "") + "tokens " + std::to_string(tokens.begin) +
         ".." + std::to_string(tokens.end);
}

Json messages_json(const Session& session) {
  const std::vector<MessageSpan> all = session.messages();
  Json list = Json::array();
  for (const MessageSpan& message : all) {
    list.push_back({{"name", message_name(all, message)},
                    {"begin", message.tokens.begin},
                    {"end", message.tokens.end},
                    {"text", message.text}});
  }
  return list;
}

std::string sentence_at(const Model& model, const std::vector<Token>& tokens, Span place) {
  const auto piece = [&](int i) { return model.detokenize(std::span(tokens).subspan(i, 1)); };
  const auto ends = [](const std::string& text) { return text.find_first_of(".!?\n") != std::string::npos; };
  Span sentence = place;
  while (sentence.begin > 0 && place.begin - sentence.begin < kSentenceTokens &&
         !ends(piece(sentence.begin - 1)))
    sentence.begin--;
  const auto size = static_cast<int>(tokens.size());
  while (sentence.end < size && sentence.end - place.end < kSentenceTokens && !ends(piece(sentence.end - 1)))
    sentence.end++;
  std::string text = trim(model.detokenize(std::span(tokens).subspan(sentence.begin, sentence.size())));
  const size_t line = text.find('\n');
  return line == std::string::npos ? text : trim(text.substr(0, line));
}

void print_mentions(std::ostream& out, const Session& session, const std::vector<Mention>& mentions,
                    Offer offer) {
  if (mentions.empty()) return;
  const std::vector<MessageSpan> messages = session.messages();
  const std::vector<Token> tokens = session.tokens();
  std::vector<std::string> offers;
  out << "the context still tells some of it, and the model can repeat that:\n";
  for (const Mention& mention : mentions) {
    for (size_t i = 0; i < std::min(kPlaces, mention.places.size()); i++) {
      const Span place = mention.places[i].tokens;
      const std::string sentence = sentence_at(*session.model(), tokens, place);
      out << "  " << (i == 0 ? "\"" + mention.word + "\"" : "") << (i == 0 ? " at " : "    at ")
          << place_name(messages, place) << ": " << one_line(sentence, 100) << "\n";
      const MessageSpan* const message = message_of(messages, place);
      const std::string one = offer == Offer::flags ? "--span " + quoted(sentence)
                              : message             ? "/erase " + message_name(messages, *message)
                                                    : "/erase " + sentence;
      if (std::find(offers.begin(), offers.end(), one) == offers.end()) offers.push_back(one);
    }
    if (mention.places.size() > kPlaces)
      out << "    and " << mention.places.size() - kPlaces << " places more\n";
  }
  offers.resize(std::min(offers.size(), kOffers));
  out << "to erase that too:";
  for (const std::string& one : offers) out << (offers.size() > 1 ? "\n  " : " ") << one;
  out << "\n";
}

Json mentions_json(const Session& session, const std::vector<Mention>& mentions) {
  const std::vector<MessageSpan> messages = session.messages();
  Json list = Json::array();
  for (const Mention& mention : mentions) {
    Json places = Json::array();
    for (const Found& place : mention.places) {
      const MessageSpan* const message = message_of(messages, place.tokens);
      Json one = {{"begin", place.tokens.begin}, {"end", place.tokens.end}};
      if (message) one["message"] = message_name(messages, *message);
      places.push_back(std::move(one));
    }
    list.push_back({{"word", mention.word}, {"places", std::move(places)}});
  }
  return list;
}

}  // namespace kvedit::cli
