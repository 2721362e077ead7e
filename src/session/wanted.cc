#include "session/wanted.h"

#include <algorithm>
#include <map>
#include <optional>

#include "kvedit/error.h"
#include "session/conversation.h"
#include "session/diff.h"

namespace kvedit {
namespace {

// A text as tokens spell it: its bytes, and control tokens, each by its number, which no text equals.
using Symbols = std::vector<Token>;
constexpr int kBytes = 256;  // control tokens come behind

Symbols spelled(const Tokenizer& tokenizer, std::span<const Token> tokens, Token behind,
                std::vector<size_t>* ends = nullptr) {
  Symbols all;
  for (const Token token : tokens) {
    if (tokenizer.is_control(token)) {
      all.push_back(kBytes + token);
    } else {
      for (const char c : tokenizer.piece(token, behind)) all.push_back(static_cast<unsigned char>(c));
    }
    if (ends) ends->push_back(all.size());
    behind = token;
  }
  return all;
}

// Between characters of what is valid UTF-8.
bool cuts_no_character(const Symbols& text, size_t at) {
  return at >= text.size() || text[at] >= kBytes || (text[at] & 0xC0) != 0x80;
}

Symbols without_white_space(Symbols text) {
  std::erase_if(text, [](int symbol) { return symbol == ' ' || (symbol >= '\t' && symbol <= '\r'); });
  return text;
}

// The tokens that symbols are read in.
std::vector<Token> read(const Tokenizer& tokenizer, std::span<const Token> symbols, Token behind) {
  std::vector<Token> tokens;
  for (size_t at = 0; at < symbols.size();) {
    if (symbols[at] >= kBytes) {
      tokens.push_back(symbols[at++] - kBytes);
      continue;
    }
    std::string text;
    for (; at < symbols.size() && symbols[at] < kBytes; at++) text += static_cast<char>(symbols[at]);
    const TextPart part = {text};
    const std::vector<Token> more = tokenizer.encode({&part, 1}, tokens.empty() ? behind : tokens.back());
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  return tokens;
}

// What two texts share.
struct Stretch {
  size_t in_message, in_text, size;
};

// At both ends, and long ones between: letters that happen to be the same are none.
std::vector<Stretch> shared(const Symbols& message, const Symbols& text) {
  constexpr size_t kLeast = 16;
  std::vector<Stretch> all;
  size_t in_message = 0, in_text = 0;
  const auto add = [&](size_t until, bool at_end) {
    const size_t size = until - in_message;
    if (size >= kLeast || (size > 0 && (at_end || in_message == 0)))
      all.push_back({in_message, in_text, size});
  };
  for (const Hunk& hunk : diff(message, text)) {
    add(hunk.before.begin, false);
    in_message = hunk.before.end;
    in_text = hunk.after.end;
  }
  add(message.size(), true);
  return all;
}

struct CachedMessage {
  std::string role;
  std::span<const Token> tokens;
  Token behind = kNoToken;
  Symbols text;
  Symbols bare;              // without white space
  std::vector<size_t> ends;  // of each token in the text
  std::optional<bool> as_read = std::nullopt;
};

class CachedMessages {
 public:
  CachedMessages(const Tokenizer& tokenizer, const Transcript& t) : tokenizer_(tokenizer) {
    for (size_t i = 0; i < t.messages.size(); i++) {
      const Span span = t.message(i);
      CachedMessage& one = all_.emplace_back();
      one.role = t.messages[i].role;
      one.tokens = std::span<const Token>(t.tokens).subspan(span.begin, span.size());
      if (span.begin > 0) one.behind = t.tokens[span.begin - 1];
      one.text = spelled(tokenizer, one.tokens, one.behind, &one.ends);
      one.bare = without_white_space(one.text);
      by_text_[one.text] = i;
    }
  }

  /// The tokens of a message behind others.
  std::vector<Token> tokens(const MessageText& message, Token behind) {
    std::vector<Token> as_read = message.encode(tokenizer_, behind);
    const Symbols text = spelled(tokenizer_, as_read, behind);
    for (const Symbols& same : {text, ended(text, message.after)}) {
      const auto found = by_text_.find(same);
      if (found == by_text_.end()) continue;
      const std::span<const Token> tokens = all_[found->second].tokens;
      if (spelled(tokenizer_, tokens, behind) == same) return {tokens.begin(), tokens.end()};
    }
    if (CachedMessage* const like = most_alike(message.role, text); like && keeps_more(*like, text)) {
      std::vector<Token> joined = around_what_is_kept(*like, text, behind);
      // A space in front of a token may be of the text in one place and of the vocabulary in another.
      if (spelled(tokenizer_, joined, behind) == text) return joined;
    }
    return as_read;
  }

 private:
  // The text as the model ends it, by a control token, where the template closes with text in front of that.
  Symbols ended(Symbols text, const std::string& closing) const {
    const TextPart part = {closing, true};
    const Symbols behind = spelled(tokenizer_, tokenizer_.encode({&part, 1}, kNoToken), kNoToken);
    const auto control = std::ranges::find_if(behind, [](int symbol) { return symbol >= kBytes; });
    if (control == behind.end() || behind.size() > text.size()) return text;
    const auto begin = text.end() - static_cast<std::ptrdiff_t>(behind.size());
    text.erase(begin, begin + (control - behind.begin()));
    return text;
  }

  // By how much is the same at both ends: clients cut replies off and trim them.
  CachedMessage* most_alike(const std::string& role, const Symbols& text) {
    const Symbols bare = without_white_space(text);
    CachedMessage* best = nullptr;
    size_t most = 0;
    for (CachedMessage& one : all_) {
      if (one.role != role) continue;
      const auto least = static_cast<std::ptrdiff_t>(std::min(one.bare.size(), bare.size()));
      const auto begin =
          std::mismatch(one.bare.begin(), one.bare.begin() + least, bare.begin()).first - one.bare.begin();
      const auto end =
          std::mismatch(one.bare.rbegin(), one.bare.rbegin() + (least - begin), bare.rbegin()).first -
          one.bare.rbegin();
      if (static_cast<size_t>(begin + end) <= most) continue;
      best = &one;
      most = begin + end;
    }
    return best;
  }

  // Whether reading all of `text` would keep less: where the message is not as it would be read, or only
  // begins the text.
  bool keeps_more(CachedMessage& message, const Symbols& text) const {
    if (!message.as_read) message.as_read = std::ranges::equal(read_again(message), message.tokens);
    return !*message.as_read || (message.text.size() < text.size() &&
                                 std::equal(message.text.begin(), message.text.end(), text.begin()));
  }

  // The message's tokens in the stretches of `text` that it shares, and the rest as it is read.
  std::vector<Token> around_what_is_kept(const CachedMessage& message, const Symbols& text,
                                         Token behind) const {
    std::vector<Token> tokens;
    size_t at = 0;  // in the text
    const auto read_until = [&](size_t end) {
      const std::vector<Token> more =
          read(tokenizer_, std::span(text).subspan(at, end - at), tokens.empty() ? behind : tokens.back());
      tokens.insert(tokens.end(), more.begin(), more.end());
    };
    size_t next = 0;  // token of the message
    for (const Stretch& same : shared(message.text, text)) {
      const auto in_text = [&](size_t in_message) { return in_message - same.in_message + same.in_text; };
      const auto begin_of = [&](size_t token) { return token > 0 ? message.ends[token - 1] : 0; };
      while (next < message.ends.size() &&
             (begin_of(next) < same.in_message || !cuts_no_character(text, in_text(begin_of(next))))) {
        next++;
      }
      size_t last = next;  // behind the last one that is kept
      for (size_t k = next; k < message.ends.size() && message.ends[k] <= same.in_message + same.size; k++)
        if (cuts_no_character(text, in_text(message.ends[k]))) last = k + 1;
      if (last == next) continue;
      read_until(in_text(begin_of(next)));
      tokens.insert(tokens.end(), message.tokens.begin() + static_cast<std::ptrdiff_t>(next),
                    message.tokens.begin() + static_cast<std::ptrdiff_t>(last));
      at = in_text(message.ends[last - 1]);
      next = last;
    }
    read_until(text.size());
    return tokens;
  }

  // Nothing where the cached text is no UTF-8.
  std::vector<Token> read_again(const CachedMessage& message) const {
    try {
      return read(tokenizer_, message.text, message.behind);
    } catch (const Error&) {
      return {};
    }
  }

  const Tokenizer& tokenizer_;
  std::vector<CachedMessage> all_;
  std::map<Symbols, size_t> by_text_;
};

}  // namespace

Wanted wanted(const Tokenizer& tokenizer, const Transcript& transcript, std::span<const Message> messages,
              bool reply) {
  CachedMessages cached(tokenizer, transcript);
  Wanted result;
  const Formatted all = formatted(tokenizer, messages, reply);
  result.waiting = all.waiting;
  if (all.messages.empty()) return result;
  if (tokenizer.begin_token()) result.tokens.push_back(*tokenizer.begin_token());  // of no message
  for (const MessageText& message : all.messages) {
    const auto begin = static_cast<int>(result.tokens.size());
    // One without text may make no tokens of its own (Gemma's system message): nothing of it is there.
    if (!result.messages.empty() && result.messages.back().begin == begin) result.messages.pop_back();
    result.messages.push_back({message.role, begin, message.reply});
    const Token behind = begin > 0 ? result.tokens.back() : kNoToken;
    const std::vector<Token> tokens = cached.tokens(message, behind);
    result.tokens.insert(result.tokens.end(), tokens.begin(), tokens.end());
  }
  return result;
}

}  // namespace kvedit
