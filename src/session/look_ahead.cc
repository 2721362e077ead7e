// Looking ahead: the distributions of a continuation, which does not become part of the session.
#include "session/state.h"

namespace kvedit {

std::vector<float> look_ahead(const Content& content, Engine& engine, std::span<const Token> tokens) {
  Cache cache = content.cache.fork();
  std::vector<Position> positions;
  for (size_t i = 0; i < tokens.size(); i++)
    positions.push_back(content.transcript.positions.back() + static_cast<Position>(i));
  cache.append(positions);
  const Run run{&cache, tokens, positions, Logits::all};
  return std::move(engine.forward({&run, 1})[0]);
}

std::vector<float> Session::logits_after(std::span<const Token> tokens) const {
  const InUse use(state_->busy);
  const Content content = state_->settled_fork();
  if (content.transcript.size() == 0)
    fail(ErrorCode::invalid_argument, "session", "an empty session has no next token: append first");
  state_->check_context(content, tokens.size());
  std::vector<Token> all = {content.transcript.tokens.back()};
  all.insert(all.end(), tokens.begin(), tokens.end());
  const ModelImpl::Lease engine(*state_->model);
  return look_ahead(content, *engine, all);
}

}  // namespace kvedit
