// What a session holds, and how its calls share it.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>

#include "base/check.h"
#include "base/stopwatch.h"
#include "erase/method.h"
#include "kvedit/session.h"
#include "session/model_impl.h"

namespace kvedit {

/// The whole of a session that edits replace at once.
struct Content {
  Cache cache;
  Transcript transcript;
  bool evicted = false;
  std::string policy;  // last applied
  Budget budget;       // with which

  Content fork() const { return {cache.fork(), transcript, evicted, policy, budget}; }
  Position next_position() const { return transcript.size() > 0 ? transcript.positions.back() + 1 : 0; }
};

struct Session::State {
  State(std::shared_ptr<ModelImpl> m, const SessionOptions& o)
      : model(std::move(m)), options(o), content{model->new_cache()} {}
  State(const State& parent, Content c)
      : model(parent.model), options(parent.options), content(std::move(c)) {}

  struct Step {
    std::string what;
    Content before;
    int tokens_after = 0;  // of the transcript, right after the edit
  };

  std::shared_ptr<ModelImpl> model;
  SessionOptions options;
  Content content;
  std::deque<Step> history;
  std::atomic<bool> busy{false};
  // Logits of the next token while the pending one's entry is in the cache already, so that a loop of
  // logits() and append_tokens() forwards each token once. Every other call settles first.
  std::vector<float> ahead;

  /// The last token is pending again: its entry goes, its logits are forgotten. Does not fail.
  void settle();

  /// Swaps the edited content in; the old one becomes a step of history. Does not fail.
  void commit(Content edited, std::string what);
  /// Throws Error(no_memory) when the content passes the session's byte limit.
  void check_limit(const Content& edited) const;
  /// Room for n more tokens in the model's context.
  void check_context(size_t n) const;
  void append(std::span<const Token> tokens, const Progress& progress);
  /// Evicts `edited` in place; for evict() and for methods that rebuild an evicted cache.
  EvictReport evict(Content& edited, std::string_view policy, const Budget& budget,
                    const EvictOptions& options);
};

/// Holds a session for the time of a call; a second caller gets Error(busy).
class InUse {
 public:
  explicit InUse(std::atomic<bool>& busy) : busy_(busy) {
    if (busy_.exchange(true, std::memory_order_acquire)) {
      fail(ErrorCode::busy, "session", "another call is using this session; fork it, or wait");
    }
  }
  ~InUse() { busy_.store(false, std::memory_order_release); }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  std::atomic<bool>& busy_;
};

/// The same for calls that look at the cache or change it: the last token is pending.
class Settled : public InUse {
 public:
  template <typename State>
  explicit Settled(State& state) : InUse(state.busy) {
    state.settle();
  }
};

}  // namespace kvedit
