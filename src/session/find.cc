// Text in the transcript, by the byte ranges of its tokens.
#include <algorithm>

#include "session/state.h"

namespace kvedit {

std::vector<Found> Session::find(std::string_view text) const {
  if (text.empty())
    fail(ErrorCode::invalid_argument, "session", "there is nothing to find: the text is empty");
  const std::vector<Token> all = tokens();
  const Tokenizer& tokenizer = state_->model->tokenizer();
  std::string bytes;
  std::vector<size_t> ends;  // of each token, in bytes
  for (const Token token : all) {
    bytes += tokenizer.piece(token);
    ends.push_back(bytes.size());
  }
  std::vector<Found> found;
  for (size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1)) {
    const size_t end = at + text.size();
    const auto first = static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), at) - ends.begin());
    const auto last = static_cast<size_t>(std::lower_bound(ends.begin(), ends.end(), end) - ends.begin());
    const size_t first_byte = first > 0 ? ends[first - 1] : 0;
    found.push_back({{static_cast<int>(first), static_cast<int>(last) + 1},
                     first_byte != at || ends[last] != end,
                     bytes.substr(first_byte, ends[last] - first_byte)});
  }
  return found;
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

}  // namespace kvedit
