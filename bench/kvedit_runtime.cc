#include "bench/kvedit_runtime.h"

#include "bench/measure.h"

namespace kvedit::bench {

Step session_step(Session& session, Token token) {
  session.append_tokens({&token, 1});
  const Stopwatch timer;
  const std::vector<float> logits = session.logits();
  const double ms = timer.ms();
  return {ms, most_likely(logits)};
}

void KveditRuntime::drop() {
  work_.reset();
  base_.reset();
}

void KveditRuntime::read(std::span<const Token> tokens, const Progress& progress) {
  drop();
  base_.emplace(model_, options_);
  base_->append_tokens(tokens, progress);
  base_->logits();
}

bool KveditRuntime::go_back(int tokens) {
  if (!base_ || base_->stats().tokens != tokens) return false;
  work_.emplace(base_->fork());
  return true;
}

Step KveditRuntime::step(Token token) {
  if (!work_) work_.emplace(base_->fork());
  return session_step(*work_, token);
}

Session KveditRuntime::unshared_session(int tokens) {
  if (!snapshot_ || snapshot_tokens_ != tokens) {
    hold(tokens);
    snapshot_ = std::make_unique<TemporaryFile>();
    base_->save(snapshot_->path());
    snapshot_tokens_ = tokens;
  }
  drop();
  return Session::load(model_, snapshot_->path(), options_);
}

}  // namespace kvedit::bench
