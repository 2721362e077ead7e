// Text and messages in the transcript.
#include <algorithm>

#include "session/state.h"
#include "session/transcript_text.h"

namespace kvedit {

std::vector<Found> Session::find(std::string_view text) const {
  if (text.empty())
    fail(ErrorCode::invalid_argument, "session", "there is nothing to find: the text is empty");
  return TranscriptText(state_->model->tokenizer(), tokens()).find(text);
}

Found Session::find_one(std::string_view text, int nth) const {
  const std::vector<Found> all = find(text);
  if (nth < 0)
    fail(ErrorCode::invalid_argument, "session", "occurrence ", nth, " asked for; they count from 1");
  if (all.empty()) fail(ErrorCode::not_found, "session", "the text '", text, "' is not in the context");
  if (static_cast<size_t>(nth) > all.size()) {
    fail(ErrorCode::not_found, "session", "occurrence ", nth, " of '", text, "' asked for; there are ",
         all.size());
  }
  if (nth == 0 && all.size() > 1) {
    std::string places;
    for (const Found& f : all) places += cat(places.empty() ? "" : ", ", f.tokens.begin, "..", f.tokens.end);
    fail(ErrorCode::ambiguous, "session", "the text '", text, "' is there ", all.size(), " times, at tokens ",
         places, "; say which (--nth 1 to ", all.size(), ")");
  }
  return all[std::max(nth, 1) - 1];
}

std::vector<MessageSpan> Session::messages() const {
  const InUse use(state_->busy);
  const Transcript& t = state_->content.transcript;
  std::vector<MessageSpan> all;
  for (size_t i = 0; i < t.messages.size(); i++) {
    const Span span = t.message(i);
    const auto tokens = std::span<const Token>(t.tokens).subspan(span.begin, span.size());
    all.push_back({t.messages[i].role, span, state_->model->tokenizer().decode(tokens)});
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
