// kvedit as a runtime to compare, through the public API only.
#pragma once

#include <memory>
#include <optional>

#include "bench/runtime.h"
#include "bench/temporary.h"
#include "kvedit/session.h"

namespace kvedit::bench {

/// Decodes one step of a session and times the forward pass that gives the token's logits. Appending the
/// token is not timed: in a loop of steps it forwards nothing, since the step before has put its own token
/// into the cache; at the first step of a fork it forwards the one before.
Step session_step(Session& session, Token token);

class KveditRuntime final : public Runtime {
 public:
  KveditRuntime(std::shared_ptr<Model> model, const SessionOptions& options, std::vector<Token> text,
                ProgressMaker progress)
      : Runtime("kvedit", std::move(text), std::move(progress)),
        model_(std::move(model)),
        options_(options) {}

  const std::shared_ptr<Model>& model() const { return model_; }
  /// Returns the session that hold() prepared. Fork it before any edit.
  const Session& held() const { return *base_; }
  /// Frees what is held.
  void drop();
  /// Returns a session over the first `tokens` tokens that shares no pages, loaded from a snapshot of what
  /// hold() prepares. Nothing is held afterwards.
  Session unshared_session(int tokens);

 protected:
  void read(std::span<const Token> tokens, const Progress& progress) override;
  bool go_back(int tokens) override;
  Step step(Token token) override;

 private:
  std::shared_ptr<Model> model_;
  SessionOptions options_;
  std::optional<Session> base_;
  std::optional<Session> work_;  // a fork of base_, for decoding
  std::unique_ptr<TemporaryFile> snapshot_;
  int snapshot_tokens_ = 0;
};

}  // namespace kvedit::bench
