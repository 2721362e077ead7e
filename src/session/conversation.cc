#include "session/conversation.h"

#include <algorithm>

namespace kvedit {
namespace {

constexpr const char* kAssistant = "assistant";
// Stands for the text of messages where only what the template puts around it matters.
constexpr std::string_view kSomeText = "@@kvedit@@";

size_t common_prefix(std::string_view a, std::string_view b) {
  return std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin()).first - a.begin();
}

// The conversation as text, cut where each message ends; the opening of a reply is one more.
std::vector<std::string> cut(const Tokenizer& tokenizer, std::span<const Message> messages, bool reply) {
  const std::string all = tokenizer.format(messages, reply);
  std::vector<std::string> texts;
  size_t begin = 0;
  for (size_t i = 0; i < messages.size(); i++) {
    const size_t end = std::max(begin, common_prefix(tokenizer.format(messages.first(i + 1), false), all));
    texts.push_back(all.substr(begin, end - begin));
    begin = end;
  }
  texts.push_back(all.substr(begin));
  return texts;
}

// What is missing of `closing` at the end of the transcript.
std::string missing(const Tokenizer& tokenizer, const Transcript& t, std::string_view closing) {
  const size_t tail = std::min(closing.size(), t.tokens.size());
  const std::string text = tokenizer.decode(std::span<const Token>(t.tokens).last(tail));
  size_t there = closing.size();
  while (!text.ends_with(closing.substr(0, there))) there--;
  return std::string(closing.substr(there));
}

}  // namespace

std::vector<Token> MessageText::encode(const Tokenizer& tokenizer, bool begin) const {
  std::vector<Token> tokens = tokenizer.encode(before, true, begin);
  for (const std::string* part : {&content, &after}) {
    const std::vector<Token> more = tokenizer.encode(*part, part == &after, false);
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  return tokens;
}

std::vector<MessageText> formatted(const Tokenizer& tokenizer, std::span<const Message> messages,
                                   bool reply) {
  const std::vector<std::string> texts = cut(tokenizer, messages, reply);
  std::vector<Message> frames(messages.begin(), messages.end());
  for (Message& frame : frames) frame.content = kSomeText;
  const std::vector<std::string> around = cut(tokenizer, frames, reply);
  std::vector<MessageText> result;
  for (size_t i = 0; i < messages.size(); i++) {
    const size_t before = around[i].find(kSomeText);
    if (texts[i].empty()) continue;
    if (before == std::string::npos) {  // two messages in one turn: all of it is text but what they share
      result.push_back({messages[i].role, "", texts[i], ""});
      continue;
    }
    const size_t after = around[i].size() - around[i].rfind(kSomeText) - kSomeText.size();
    result.push_back({messages[i].role, texts[i].substr(0, before),
                      texts[i].substr(before, texts[i].size() - before - after),
                      texts[i].substr(texts[i].size() - after)});
  }
  if (!texts.back().empty()) result.push_back({kAssistant, texts.back(), "", "", true});
  return result;
}

Continuation continuation(const Tokenizer& tokenizer, const Transcript& transcript,
                          std::span<const Message> messages, bool reply) {
  std::vector<Message> all;
  for (const MessageMark& mark : transcript.messages) all.push_back({mark.role, std::string(kSomeText)});
  Continuation result;
  size_t known = 0;  // formatted messages that are in the transcript
  if (!all.empty()) {
    const std::vector<MessageText> before = formatted(tokenizer, all, false);
    known = before.size();
    if (transcript.messages.back().reply) {
      result.closing = missing(tokenizer, transcript, before.back().after);
    }
  }
  all.insert(all.end(), messages.begin(), messages.end());
  const std::vector<MessageText> texts = formatted(tokenizer, all, reply);
  result.messages.assign(texts.begin() + static_cast<ptrdiff_t>(std::min(known, texts.size())), texts.end());
  return result;
}

}  // namespace kvedit
