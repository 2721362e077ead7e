// Text and messages in the transcript.
#include <algorithm>

#include "model/utf8.h"
#include "session/state.h"
#include "session/transcript_text.h"
#include "tools/text.h"

namespace kvedit {

namespace {

constexpr size_t kMostQuoted = 80;

[[noreturn]] void fail_absent(const TranscriptText& in, std::string_view text) {
  std::string nearest;
  if (const std::optional<Found> near = in.nearest(text)) {
    nearest = cat("; the nearest, at tokens ", near->tokens.begin, "..", near->tokens.end, ", is '",
                  utf8_prefix(near->text, kMostQuoted), near->text.size() > kMostQuoted ? "...'" : "'",
                  ", other in ", near->differs);
  }
  fail(ErrorCode::not_found, "session", "the text '", text, "' is not in the context", nearest);
}

[[noreturn]] void fail_ambiguous(std::span<const Found> all, std::string_view text) {
  const std::string places =
      join(all, [](const Found& f) { return cat(f.tokens.begin, "..", f.tokens.end); });
  fail(ErrorCode::ambiguous, "session", "the text '", text, "' is there ", all.size(), " times, at tokens ",
       places, "; say which, 1 to ", all.size());
}

}  // namespace

std::vector<Found> Session::find(std::string_view text, const FindOptions& options) const {
  const InUse use(*state_);
  if (text.empty())
    fail(ErrorCode::invalid_argument, "session", "there is nothing to find: the text is empty");
  return TranscriptText(state_->model->tokenizer(), state_->context.transcript.tokens)
      .find(text, options.loose);
}

std::optional<Found> Session::find_nearest(std::string_view text) const {
  const InUse use(*state_);
  if (text.empty())
    fail(ErrorCode::invalid_argument, "session", "there is nothing to find: the text is empty");
  return TranscriptText(state_->model->tokenizer(), state_->context.transcript.tokens).nearest(text);
}

Found Session::find_one(std::string_view text, int nth, const FindOptions& options) const {
  const InUse use(*state_);
  if (text.empty())
    fail(ErrorCode::invalid_argument, "session", "there is nothing to find: the text is empty");
  if (nth < 0)
    fail(ErrorCode::invalid_argument, "session", "occurrence ", nth, " asked for; they count from 1");
  const TranscriptText in(state_->model->tokenizer(), state_->context.transcript.tokens);
  std::vector<Found> all = in.find(text, options.loose);
  if (all.empty()) fail_absent(in, text);
  if (static_cast<size_t>(nth) > all.size()) {
    fail(ErrorCode::not_found, "session", "occurrence ", nth, " of '", text, "' asked for; there are ",
         all.size());
  }
  if (nth == 0 && all.size() > 1) fail_ambiguous(all, text);
  return std::move(all[std::max(nth, 1) - 1]);
}

std::vector<MessageSpan> Session::messages() const {
  const InUse use(*state_);
  const Transcript& t = state_->context.transcript;
  std::vector<MessageSpan> all;
  for (size_t i = 0; i < t.messages.size(); i++) {
    const Span span = t.message(i);
    const auto tokens = std::span<const Token>(t.tokens).subspan(span.begin, span.size());
    const Token behind = state_->context.transcript.behind(span.begin);
    all.push_back({t.messages[i].role, span, state_->model->tokenizer().decode(tokens, behind)});
  }
  for (const Message& message : t.waiting)
    all.push_back({message.role, {t.size(), t.size()}, message.content});
  return all;
}

MessageSpan Session::message(std::string_view role, int index) const {
  std::vector<MessageSpan> of_role = messages();
  if (!role.empty()) std::erase_if(of_role, [&](const MessageSpan& m) { return m.role != role; });
  const auto count = static_cast<int>(of_role.size());
  const int at = index > 0 ? index - 1 : count + index;
  if (index == 0 || at < 0 || at >= count) {
    fail(ErrorCode::not_found, "session", "message ", index, role.empty() ? "" : " of role ", role,
         " asked for; there are ", count, index == 0 ? ", counted from 1" : "");
  }
  return of_role[at];
}

}  // namespace kvedit
