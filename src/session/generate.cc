// Generation: forward the pending token, choose the next, which is pending then.
#include <algorithm>
#include <array>
#include <optional>

#include "model/utf8.h"
#include "session/sampler.h"
#include "session/state.h"

namespace kvedit {
namespace {

constexpr double kSlack = 0.125;  // of the cap: one eviction every so many tokens

// Hands text on as it comes, but holds back what may turn out to be a stop string or half a character.
class Output {
 public:
  /// begun: bytes of a character in front, which the first token may finish.
  Output(const GenerateOptions& options, std::string begun) : options_(options), raw_(std::move(begun)) {}

  /// Returns false when the receiver cancels.
  bool add(std::string_view piece) {
    take_characters(piece);
    for (const std::string& stop : options_.stop) {
      const size_t from = sent_ - std::min(sent_, stop.size());
      const size_t at = stop.empty() ? std::string::npos : text_.find(stop, from);
      if (at != std::string::npos) end_ = std::min(end_, at);
    }
    if (stopped()) {
      text_.resize(end_);
      return send(text_.size());
    }
    return send(text_.size() - held());
  }
  bool stopped() const { return end_ != std::string::npos; }
  /// The end: what was held back for a stop string goes out too.
  std::string finish() {
    send(text_.size());
    return std::move(text_);
  }

 private:
  // Moves whole characters from raw_ to text_. A byte that begins none becomes U+FFFD, and so does NUL, which
  // no text may have.
  void take_characters(std::string_view piece) {
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
  size_t held() const {
    size_t held = 0;
    for (const std::string& stop : options_.stop) {
      for (size_t n = std::min(stop.size(), text_.size()); n > held; n--) {
        if (text_.compare(text_.size() - n, n, stop, 0, n) == 0) held = n;
      }
    }
    return held;
  }
  bool send(size_t until) {
    if (until <= sent_ || cancelled_) return !cancelled_;
    const std::string_view part = std::string_view(text_).substr(sent_, until - sent_);
    sent_ = until;
    cancelled_ = options_.on_text && !options_.on_text(part);
    return !cancelled_;
  }

  const GenerateOptions& options_;
  bool cancelled_ = false;
  std::string raw_;  // an unfinished character
  std::string text_;
  size_t sent_ = 0;
  size_t end_ = std::string::npos;  // where a stop string began
};

// What the text's last tokens begin of a character and do not finish.
std::string unfinished_character(const Tokenizer& tokenizer, std::span<const Token> tokens) {
  const std::string end = tokenizer.decode(tokens.last(std::min<size_t>(tokens.size(), 3)));
  return end.substr(end.size() - unfinished_utf8_bytes(end));
}

// Hands the token's text on, and tells why generation ends with it, if it does.
std::optional<StopReason> stop_after(Token token, Token behind, const Tokenizer& tokenizer, Output& output) {
  if (tokenizer.is_end(token)) return StopReason::end_token;
  const bool go_on = output.add(tokenizer.is_control(token) ? std::string() : tokenizer.piece(token, behind));
  if (output.stopped()) return StopReason::stop_string;
  if (!go_on) return StopReason::cancelled;
  return std::nullopt;
}

}  // namespace

std::string_view to_string(StopReason reason) {
  static constexpr std::array<std::string_view, 6> kNames = {"end_token",    "stop_string", "max_tokens",
                                                             "context_full", "cancelled",   "error"};
  return kNames.at(static_cast<size_t>(reason));
}

Token Session::State::next_token(Engine& engine, Sampler& sampler) {
  Transcript& t = context.transcript;
  hold_cap(context, kSlack, &engine);  // what passes the cap goes before more is added
  t.tokens.reserve(t.tokens.size() + 1);
  t.positions.reserve(t.positions.size() + 1);
  const auto last = std::span<const Position>(t.positions).last(1);
  context.cache.append(last);
  Token token = 0;
  try {
    check_limit(context);
    const Run run{&context.cache, std::span<const Token>(t.tokens).last(1), last, Logits::last};
    token = sampler.sample(engine.forward({&run, 1})[0]);
  } catch (...) {
    context.cache.rollback(last);
    throw;
  }
  if (context.all_exact() && !context.evicted) context.exact++;
  t.tokens.push_back(token);
  t.positions.push_back(t.positions.back() + 1);
  if (model->tokenizer().is_end(token) && !t.messages.empty() && t.messages.back().open) {
    t.messages.back().open = false;  // as a reply, it may lack some of what closes it
    t.messages.back().reply = true;
  }
  free_windows();
  publish();
  return token;
}

Generation Session::generate(const GenerateOptions& options) {
  const Settled use(*state_);
  const CancelScope scope(options.cancel);
  const Stopwatch watch;
  state_->adopt_upgrade();
  Context& context = state_->context;
  Transcript& t = context.transcript;
  if (t.size() == 0)
    fail(ErrorCode::invalid_argument, "generate", "an empty session cannot be continued: append first");
  if (!t.waiting.empty()) {
    fail(ErrorCode::unsupported, "generate", "a ", t.waiting.front().role,
         " message waits: the chat template says it together with the next one; append that first");
  }
  const Tokenizer& tokenizer = state_->model->tokenizer();
  Sampler sampler(options, tokenizer.size(), state_->model->network().hparams().context_length, t.tokens);
  Output output(options, unfinished_character(tokenizer, t.tokens));
  Generation made;
  const ModelImpl::Lease engine(*state_->model);
  const Position limit = state_->model->network().hparams().context_length;
  const Position held = context.cache.held_from();
  made.stop = StopReason::max_tokens;
  const auto failed = [&](const Error& error) {
    made.stop = error.code() == ErrorCode::cancelled ? StopReason::cancelled : StopReason::error;
    if (made.stop == StopReason::cancelled) return;
    made.error = error.what();
    made.error_code = error.code();
  };
  while (static_cast<int>(made.tokens.size()) < options.max_tokens) {
    if (t.next_position() >= limit) {
      made.stop = StopReason::context_full;
      break;
    }
    Token token = 0;
    try {
      token = state_->next_token(*engine, sampler);
    } catch (const Error& error) {
      if (made.tokens.empty()) throw;
      failed(error);
      break;
    }
    made.tokens.push_back(token);
    if (made.tokens.size() == 1) made.first_token_ms = watch.ms();
    if (const auto stop = stop_after(token, t.behind(t.size() - 1), tokenizer, output)) {
      made.stop = *stop;
      break;
    }
  }
  if (made.stop != StopReason::error && made.stop != StopReason::cancelled) {
    try {
      state_->hold_cap(context, kSlack, &*engine);
    } catch (const Error& error) {
      failed(error);
    }
  }
  if (context.cache.held_from() > held) state_->model->page_pool()->trim();
  made.text = output.finish();
  made.ms = watch.ms();
  return made;
}

}  // namespace kvedit
