// Generation: forward the pending token, with what may come behind it, and draw the next, which is pending
// then.
#include <algorithm>
#include <array>
#include <optional>

#include "model/utf8.h"
#include "session/output.h"
#include "session/sampler.h"
#include "session/state.h"

namespace kvedit {
namespace {

constexpr double kSlack = 0.125;  // of the cap: one eviction every so many tokens

// What the text's last tokens begin of a character and do not finish.
std::string unfinished_character(const Tokenizer& tokenizer, std::span<const Token> tokens) {
  const std::string end = tokenizer.decode(tokens.last(std::min<size_t>(tokens.size(), 3)));
  return end.substr(end.size() - unfinished_utf8_bytes(end));
}

}  // namespace

std::string_view to_string(StopReason reason) {
  static constexpr std::array<std::string_view, 6> kNames = {"end_token",    "stop_string", "max_tokens",
                                                             "context_full", "cancelled",   "error"};
  return kNames.at(static_cast<size_t>(reason));
}

std::vector<Token> lookup_draft(std::span<const Token> transcript, int most) {
  for (size_t length = std::min<size_t>(3, transcript.size()); length >= 2; length--) {
    const auto last = transcript.last(length);
    const auto before = transcript.first(transcript.size() - 1);
    const auto found = std::find_end(before.begin(), before.end(), last.begin(), last.end());
    if (found == before.end()) continue;
    const auto rest = transcript.subspan(found - before.begin() + length);
    const auto guess = rest.first(std::min(rest.size(), static_cast<size_t>(std::max(0, most))));
    return {guess.begin(), guess.end()};
  }
  return {};
}

// One call of generate().
class Session::State::Generating {
 public:
  Generating(State& state, const GenerateOptions& options)
      : state_(state),
        options_(options),
        tokenizer_(state.model->tokenizer()),
        sampler_(options, tokenizer_, state.context.hparams().context_length, transcript().tokens),
        output_(options, unfinished_character(tokenizer_, transcript().tokens)),
        engine_(*state.model) {}

  Generation run() {
    const Position held = state_.context.cache.held_from();
    std::optional<StopReason> stop;
    try {
      while (!stop) stop = step();
      made_.stop = *stop;
      state_.hold_cap(state_.context, kSlack, &*engine_);
    } catch (const std::exception& error) {
      if (made_.tokens.empty()) throw;
      failed(error);
    }
    state_.publish();
    if (state_.context.cache.held_from() > held) state_.model->page_pool()->trim();
    finish_text();
    made_.ms = watch_.ms();
    return std::move(made_);
  }

 private:
  Transcript& transcript() const { return state_.context.transcript; }
  std::optional<StopReason> step();
  std::vector<Token> draft();
  std::vector<float> forward(std::span<const Token> drafted);
  std::optional<StopReason> take(std::span<const float> logits);
  std::optional<StopReason> tell(Token token, std::span<const float> logits);
  bool say(std::string_view text) { return text.empty() || !options_.on_text || options_.on_text(text); }

  void failed(const std::exception& error) {
    const auto* const known = dynamic_cast<const Error*>(&error);
    made_.stop = known && known->code() == ErrorCode::cancelled ? StopReason::cancelled : StopReason::error;
    if (made_.stop == StopReason::cancelled) return;
    made_.error = error.what();
    made_.error_code = known ? known->code() : ErrorCode::invalid_argument;
  }

  void finish_text() {
    try {
      if (made_.stop != StopReason::cancelled) say(output_.rest());
    } catch (const std::exception& error) {
      failed(error);
    }
    made_.text = std::move(output_).text();
  }

  State& state_;
  const GenerateOptions& options_;
  const Tokenizer& tokenizer_;
  Sampler sampler_;
  Output output_;
  ModelImpl::Lease engine_;
  Stopwatch watch_;
  Generation made_;
};

// Makes a token, or several where some were drafted. Returns why generation ends, if it does.
std::optional<StopReason> Session::State::Generating::step() {
  if (static_cast<int>(made_.tokens.size()) >= options_.max_tokens) return StopReason::max_tokens;
  Transcript& t = transcript();
  if (t.next_position() >= state_.context.hparams().context_length) return StopReason::context_full;
  state_.hold_cap(state_.context, kSlack, &*engine_);  // what passes the cap goes before more is added
  const std::vector<Token> drafted = draft();
  const int begin = t.size() - 1;  // the pending token
  const std::vector<float> logits = forward(drafted);
  const size_t vocabulary = logits.size() / (drafted.size() + 1);
  // The last token drawn is pending; entries of what was drafted in vain go.
  const auto settle = [&] {
    std::vector<Position> vain;
    for (size_t i = t.size() - 1 - begin; i <= drafted.size(); i++)
      vain.push_back(t.positions[begin] + static_cast<Position>(i));
    state_.context.cache.rollback(vain);
    state_.free_windows();
    state_.publish_tokens();
  };
  std::optional<StopReason> stop;
  try {
    for (size_t i = 0; !stop; i++) {
      stop = take(std::span(logits).subspan(i * vocabulary, vocabulary));
      if (i == drafted.size() || t.tokens.back() != drafted[i]) break;
      made_.draft_accepted++;
    }
  } catch (...) {
    settle();
    throw;
  }
  settle();
  return stop;
}

std::vector<Token> Session::State::Generating::draft() {
  if (!options_.draft) return {};
  const int room = state_.context.hparams().context_length - transcript().next_position() - 1;
  const int most = std::min({options_.max_tokens - static_cast<int>(made_.tokens.size()) - 1, room,
                             state_.model->options().block_tokens - 1});
  if (most <= 0) return {};
  std::vector<Token> drafted = options_.draft(transcript().tokens, most);
  if (drafted.size() > static_cast<size_t>(most)) drafted.resize(most);
  for (const Token token : drafted) {
    if (token >= 0 && token < tokenizer_.size()) continue;
    fail(ErrorCode::out_of_range, "generate", "drafted token ", token, " is outside the vocabulary of ",
         tokenizer_.size());
  }
  made_.drafted += static_cast<int>(drafted.size());
  return drafted;
}

// Returns the logits behind the pending token and behind each of the drafted ones, which have entries then.
std::vector<float> Session::State::Generating::forward(std::span<const Token> drafted) {
  Context& context = state_.context;
  Transcript& t = context.transcript;
  std::vector<Token> tokens = {t.tokens.back()};
  tokens.insert(tokens.end(), drafted.begin(), drafted.end());
  std::vector<Position> positions;
  for (size_t i = 0; i < tokens.size(); i++)
    positions.push_back(t.positions.back() + static_cast<Position>(i));
  t.tokens.reserve(t.tokens.size() + tokens.size());
  t.positions.reserve(t.positions.size() + tokens.size());
  context.cache.append(positions);
  try {
    state_.check_limit(context);
    const Run run{&context.cache, tokens, positions, Logits::all};
    return std::move(engine_->forward({&run, 1})[0]);
  } catch (...) {
    context.cache.rollback(positions);
    throw;
  }
}

// Draws a token, which is pending then.
std::optional<StopReason> Session::State::Generating::take(std::span<const float> logits) {
  Context& context = state_.context;
  Transcript& t = context.transcript;
  const Token token = sampler_.sample(logits);
  if (context.all_exact() && !context.evicted) context.exact++;
  t.tokens.push_back(token);
  t.positions.push_back(t.positions.back() + 1);
  if (tokenizer_.is_end(token) && !t.messages.empty() && t.messages.back().open) {
    t.messages.back().open = false;  // as a reply, it may lack some of what closes it
    t.messages.back().reply = true;
  }
  made_.tokens.push_back(token);
  if (made_.tokens.size() == 1) made_.first_token_ms = watch_.ms();
  return tell(token, logits);
}

std::optional<StopReason> Session::State::Generating::tell(Token token, std::span<const float> logits) {
  const Transcript& t = transcript();
  MadeToken made{.token = token};
  if (options_.top_scores >= 0) {
    const std::vector<TokenScore> scores = scores_of(logits, token, options_.top_scores);
    made_.scores.push_back(scores[0]);
    made_.top.emplace_back(scores.begin() + 1, scores.end());
    made.score = made_.scores.back();
    made.top = made_.top.back();
  }
  const bool ends =
      tokenizer_.is_end(token) ||
      std::find(options_.end_tokens.begin(), options_.end_tokens.end(), token) != options_.end_tokens.end();
  if (!ends && !tokenizer_.is_control(token))
    made.text = output_.add(tokenizer_.piece(token, t.behind(t.size() - 1)));
  const bool go_on = say(made.text);
  if (options_.on_token && !options_.on_token(made))
    return ends ? StopReason::end_token : StopReason::cancelled;
  if (ends) return StopReason::end_token;
  if (const std::string* stop = output_.stopped()) {
    made_.stop_string = *stop;
    return StopReason::stop_string;
  }
  if (!go_on) return StopReason::cancelled;
  return std::nullopt;
}

Generation Session::generate(const GenerateOptions& options) {
  const Settled use(*state_);
  const CancelScope scope(options.cancel);
  state_->adopt_upgrade();
  const Transcript& t = state_->context.transcript;
  if (t.size() == 0)
    fail(ErrorCode::invalid_argument, "generate", "an empty session cannot be continued: append first");
  if (!t.waiting.empty()) {
    fail(ErrorCode::unsupported, "generate", "a ", t.waiting.front().role,
         " message waits: the chat template says it together with the next one; append that first");
  }
  return State::Generating(*state_, options).run();
}

}  // namespace kvedit
