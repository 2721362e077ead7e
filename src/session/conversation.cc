#include "session/conversation.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "model/utf8.h"
#include "session/transcript_text.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr const char* kAssistant = "assistant";
constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant", "tool"};
constexpr size_t kQuotedBytes = 40;
constexpr size_t kLookBack = 4;  // messages that may have a say in how one is closed

// Stands for the text of a message where only what the template puts around it matters.
std::string stand_in(size_t i) { return cat("@@kvedit-", i, "@@"); }

std::vector<Message> stand_ins(std::span<const Message> messages) {
  std::vector<Message> all(messages.begin(), messages.end());
  for (size_t i = 0; i < all.size(); i++) all[i].content = stand_in(i);
  return all;
}

size_t common_prefix(std::string_view a, std::string_view b) {
  return std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin()).first - a.begin();
}

[[noreturn]] void fail_message(size_t i, const Message& message, std::string_view what) {
  fail(ErrorCode::unsupported, "chat", "the chat template ", what, " message ", i + 1, ", of role ",
       message.role);
}

// What the template writes around the texts of messages. It is applied to the whole conversation once, with
// stand-ins for the texts; how a message would end if it were the last says where the text between two
// belongs. Messages after the same few roles end alike, so that a long conversation costs what its length is.
class Frames {
 public:
  Frames(const Tokenizer& tokenizer, std::span<const Message> messages, bool reply)
      : tokenizer_(tokenizer), messages_(messages), frames_(stand_ins(messages)) {
    spoken_ = messages.size();
    const std::string all = tokenizer.format(frames_, reply);
    size_t at = 0;
    for (size_t i = 0; i < frames_.size(); i++) {
      const size_t next = all.find(frames_[i].content, at);
      if (next == std::string::npos) {
        spoken_ = i;
        break;
      }
      between_.push_back(all.substr(at, next - at));
      at = next + frames_[i].content.size();
    }
    if (spoken_ < messages.size()) check_waiting();
    between_.push_back(spoken_ < messages.size() ? closing_alone(spoken_).value_or("") : all.substr(at));
  }

  /// Messages that are said; the rest waits.
  size_t spoken() const { return spoken_; }
  /// The text in front of the first message, between two, and behind the last: spoken() + 1 of them.
  const std::vector<std::string>& between() const { return between_; }
  /// Of the text behind the i-th message the part that closes it.
  std::string closing(size_t i) {
    const std::string& behind = between_[i + 1];
    const size_t first = i + 1 - std::min(i + 1, kLookBack);
    std::string key = first == 0 ? "from the start" : "later";
    for (size_t k = first; k <= i; k++) key += "\n" + messages_[k].role;
    key += "\n" + behind;
    const auto [known, fresh] = closings_.try_emplace(key);
    if (fresh) {
      const std::string alone = closing_alone(i + 1).value_or("");
      known->second = behind.substr(0, common_prefix(alone, behind));
    }
    return known->second;
  }

 private:
  // What follows the text of the last of the first `count` messages, if it were the last of all.
  std::optional<std::string> closing_alone(size_t count) const {
    if (count == 0) return std::nullopt;
    const size_t first = count - std::min(count, kLookBack);
    const std::string text = tokenizer_.format(std::span(frames_).subspan(first, count - first), false);
    const std::string& last = frames_[count - 1].content;
    const size_t at = text.find(last);
    if (at == std::string::npos) return std::nullopt;
    return text.substr(at + last.size());
  }

  // The messages that are not said must all be at the end, and said when another follows.
  void check_waiting() const {
    std::vector<Message> more(frames_.begin() + static_cast<std::ptrdiff_t>(spoken_), frames_.end());
    const size_t waiting = more.size();
    more.push_back({"user", stand_in(frames_.size())});
    const std::string text = tokenizer_.format(more, false);
    for (size_t i = 0; i < waiting; i++) {
      if (text.find(more[i].content) == std::string::npos)
        fail_message(spoken_ + i, messages_[spoken_ + i], "says nothing of");
    }
    // One that is said although an earlier one is not: it does not wait for this one.
    const std::string all = tokenizer_.format(frames_, false);
    for (size_t i = spoken_ + 1; i < frames_.size(); i++) {
      if (all.find(frames_[i].content) != std::string::npos)
        fail_message(spoken_, messages_[spoken_], "says nothing of");
    }
  }

  const Tokenizer& tokenizer_;
  std::span<const Message> messages_;
  std::vector<Message> frames_;
  size_t spoken_ = 0;
  std::vector<std::string> between_;
  std::map<std::string, std::string> closings_;
};

// As formatted(), of the messages from `first` on; the texts of those in front are stand-ins, as their order
// says.
Formatted formatted_from(const Tokenizer& tokenizer, std::span<const Message> messages, size_t first,
                         bool reply, std::string* closing_before) {
  Frames frames(tokenizer, messages, reply);
  const size_t spoken = frames.spoken();
  const std::string all = tokenizer.format(messages.first(spoken), reply && spoken == messages.size());
  Formatted result;
  size_t at = 0;
  std::string before;  // the part of the text between two messages that opens the second
  for (size_t i = 0; i < spoken; i++) {
    const std::string& between = frames.between()[i];
    const std::string& behind = frames.between()[i + 1];
    before = i == 0 ? between : between.substr(frames.closing(i - 1).size());
    at += between.size();
    // Many templates trim.
    std::string content;
    for (const std::string_view text :
         {std::string_view(messages[i].content), trimmed(messages[i].content)}) {
      if (std::string_view(all).substr(std::min(at, all.size())).starts_with(text) &&
          all.compare(at + text.size(), behind.size(), behind) == 0) {
        content = text;
        break;
      }
    }
    if (content.empty() && !trimmed(messages[i].content).empty())
      fail_message(i, messages[i], "changes the text of");
    at += content.size();
    if (i < first) {
      if (i + 1 == first && closing_before) *closing_before = frames.closing(i);
      continue;
    }
    result.messages.push_back({messages[i].role, std::move(before), std::move(content), frames.closing(i)});
  }
  result.waiting.assign(messages.begin() + static_cast<std::ptrdiff_t>(spoken), messages.end());
  if (reply && result.waiting.empty()) {
    const std::string& behind = frames.between().back();
    const size_t closed = spoken == 0 ? 0 : frames.closing(spoken - 1).size();
    result.messages.push_back({kAssistant, behind.substr(closed), "", "", true});
  }
  return result;
}

// What is missing of `closing` at the end of the transcript. Only a control token begins a closing that is
// there: text that reads like one is text. Some templates close with text in front of it (" </s>"), which a
// reply that the model has ended lacks.
std::vector<Token> missing(const Tokenizer& tokenizer, const Transcript& t, std::string_view closing) {
  const TextPart part = {closing, true};
  std::vector<Token> tokens = tokenizer.encode({&part, 1}, t.tokens.back());
  const auto end = std::find_if(tokens.begin(), tokens.end(), [&](Token token) {
    return tokenizer.is_control(token) || tokenizer.is_end(token);
  });
  const std::ptrdiff_t written = t.size() - t.messages.back().begin;
  for (auto there = std::min(tokens.end() - end, written); there > 0; there--) {
    if (std::equal(end, end + there, t.tokens.end() - there)) return {end + there, tokens.end()};
  }
  return tokens;
}

}  // namespace

std::vector<Token> MessageText::encode(const Tokenizer& tokenizer, Token behind) const {
  const std::array<TextPart, 3> parts = {{{before, true}, {content, false}, {after, true}}};
  return tokenizer.encode(parts, behind);
}

void check_roles(std::span<const Message> messages) {
  for (size_t i = 0; i < messages.size(); i++) {
    if (std::find(kRoles.begin(), kRoles.end(), messages[i].role) != kRoles.end()) continue;
    fail(ErrorCode::invalid_argument, "chat", "message ", i + 1, " has the role \"",
         utf8_prefix(messages[i].role, kQuotedBytes),
         "\"; there are system, developer, user, assistant, tool");
  }
}

Formatted formatted(const Tokenizer& tokenizer, std::span<const Message> messages, bool reply) {
  check_roles(messages);
  return formatted_from(tokenizer, messages, 0, reply, nullptr);
}

Continuation continuation(const Tokenizer& tokenizer, const Transcript& transcript,
                          std::span<const Message> messages, bool reply, bool stays_open) {
  check_roles(messages);
  std::vector<Message> all;
  for (const MessageMark& mark : transcript.messages) all.push_back({mark.role, stand_in(all.size())});
  const size_t known = all.size();
  Continuation result;
  const bool open = known > 0 && transcript.messages.back().open;
  std::string more;  // the text that goes on in the open turn
  if (open && transcript.waiting.empty() && !messages.empty() && messages[0].role == all.back().role) {
    result.goes_on = true;
    more = "\n\n" + messages[0].content;
    messages = messages.subspan(1);
  }
  all.insert(all.end(), transcript.waiting.begin(), transcript.waiting.end());
  all.insert(all.end(), messages.begin(), messages.end());
  std::string closing;
  result.next = formatted_from(tokenizer, all, known, reply, &closing);
  const bool follows = !result.next.messages.empty();
  if (stays_open && !result.next.messages.empty()) result.next.messages.back().after.clear();
  if (result.goes_on) {
    const bool stays = stays_open && result.next.messages.empty();
    const std::array<TextPart, 2> parts = {
        {{more, false}, {stays ? std::string_view() : std::string_view(closing), true}}};
    result.closing = tokenizer.encode(parts, transcript.tokens.back());
  } else if (follows && known > 0 && (open || transcript.messages.back().reply)) {
    result.closing = missing(tokenizer, transcript, closing);
  }
  return result;
}

}  // namespace kvedit
