#include "session/output.h"

#include <algorithm>

#include "model/utf8.h"

namespace kvedit {

std::string_view Output::add(std::string_view piece) {
  take_characters(piece);
  size_t end = std::string::npos;  // where the first stop string begins
  for (const std::string& stop : options_.stop) {
    const size_t from = sent_ - std::min(sent_, stop.size());
    const size_t at = stop.empty() ? std::string::npos : text_.find(stop, from);
    if (at >= end) continue;
    end = at;
    stop_ = &stop;
  }
  if (!stop_) return send(text_.size() - held());
  text_.resize(end);
  return send(end);
}

// Moves whole characters from raw_ to text_. A byte that begins none becomes U+FFFD, and so does NUL, which
// no text may have.
void Output::take_characters(std::string_view piece) {
  raw_ += piece;
  std::string_view rest = raw_;
  while (true) {
    const size_t valid = valid_utf8_bytes(rest.substr(0, rest.find('\0')));
    text_ += rest.substr(0, valid);
    rest.remove_prefix(valid);
    if (rest.size() == unfinished_utf8_bytes(rest)) break;
    text_ += "\uFFFD";
    rest.remove_prefix(1);
  }
  raw_ = std::string(rest);
}

// Counts the bytes at the end that begin a stop string.
size_t Output::held() const {
  size_t held = 0;
  for (const std::string& stop : options_.stop) {
    for (size_t n = std::min(stop.size(), text_.size()); n > held; n--) {
      if (text_.compare(text_.size() - n, n, stop, 0, n) == 0) held = n;
    }
  }
  return held;
}

std::string_view Output::send(size_t until) {
  if (until <= sent_) return {};
  const std::string_view part = std::string_view(text_).substr(sent_, until - sent_);
  sent_ = until;
  return part;
}

}  // namespace kvedit
