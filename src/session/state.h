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
#include "session/background_prefill.h"
#include "session/model_impl.h"

namespace kvedit {

/// The whole of a session that edits replace at once.
struct Content {
  Cache cache;
  Transcript transcript;
  bool evicted = false;
  std::string policy;                           // last applied
  Budget budget;                                // with which
  uint64_t seed = 0;                            // and this
  std::vector<std::vector<Token>> erased = {};  // texts whose traces may still be in the cache

  Content fork() const { return {cache.fork(), transcript, evicted, policy, budget, seed, erased}; }
  /// The token in front of a transcript index.
  Token behind(int index) const { return index > 0 ? transcript.tokens[index - 1] : Tokenizer::kNothing; }
  Position next_position() const { return transcript.size() > 0 ? transcript.positions.back() + 1 : 0; }
};

struct Continuation;  // session/conversation.h

/// What holds a cache at a budget.
struct Cap {
  std::string policy;  // empty: no cap
  Budget budget;
  EvictOptions options;
  int evictions = 0;
  double ms = 0;
};

struct Session::State {
  State(std::shared_ptr<ModelImpl> m, const SessionOptions& o)
      : model(std::move(m)), options(o), content{model->new_cache()} {}
  State(const State& parent, Content c)
      : model(parent.model),
        options(parent.options),
        content(std::move(c)),
        cap{parent.cap.policy, parent.cap.budget, {.seed = parent.cap.options.seed}} {}

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
  std::unique_ptr<BackgroundPrefill> upgrade;  // while there is one
  UpgradeStatus last_upgrade;                  // how the last one ended
  Cap cap;
  double unverified = 0;  // erases, times the rate at which they are to be verified

  /// The last token is pending again: its entry goes, its logits are forgotten. Throws Error(no_memory), and
  /// nothing changes, where a fork shares the entry's pages and there are none to copy them to.
  void settle();
  /// The content with its last token pending, for calls that change nothing: the logits made ahead stay.
  Content settled_fork();

  /// Swaps the edited content in. Does not fail.
  void replace(Content edited);
  /// The same, and the old one becomes a step of history.
  void commit(Content edited, std::string what);
  /// Throws Error(no_memory) when the content passes the session's byte limit.
  void check_limit(const Content& edited) const;
  /// Whether this session frees what is out of reach of the model's sliding windows.
  bool frees_windows() const {
    return options.swa == SlidingWindow::window && model->network().hparams().window > 0;
  }
  /// Whether windows are freed while this content is read again: not where a policy comes after that which
  /// reads more of it once more.
  bool frees_windows(const Content& c) const;
  void free_windows() noexcept;
  /// Throws Error(unsupported) where later queries would read what was freed.
  void require_windows(const Content& edited, std::string_view where) const;
  /// Room for n more tokens in the model's context.
  void check_context(const Content& c, size_t n) const;
  AppendReport append_reported(std::span<const Token> tokens, const Progress& progress);
  void append(std::span<const Token> tokens, const Progress& progress);
  void append(const Continuation& more, const Progress& progress);
  /// The same to a content that is not the session's yet; under a cap in blocks, each evicted behind.
  void append(Content& c, std::span<const Token> tokens, const Progress& progress);
  /// One block of it, which happens wholly or not at all.
  void append_block(Content& c, std::span<const Token> tokens, const Progress& progress);
  /// Evicts what passes the cap; `slack`: the share of the cap to go below it, `leased` the caller's engine.
  void hold_cap(Content& c, double slack, Engine* leased = nullptr);
  /// Makes the transcript `tokens`, of which the first `kept` stay as they are; under a cap in blocks, each
  /// evicted behind. Returns how many entries stayed: none where sliding windows have freed what the rest
  /// reads.
  int replace_tail(Content& c, int kept, std::span<const Token> tokens, const Progress& progress);
  /// The transcript has changed: a running upgrade follows.
  void publish();
  /// Swaps the exact cache in, if there is one ready; a failure is kept in last_upgrade.
  void adopt_upgrade();
  void finish_upgrade();
  VerifyReport verify(const Content& now, const VerifyOptions& verify_options);
  /// Whether this erase is to be verified: asked for, or due by the session's rate.
  bool verification_due(const EraseOptions& erase_options);
  /// Evicts `edited` in place; for evict() and for methods that rebuild an evicted cache.
  EvictReport evict(Content& edited, std::string_view policy, const Budget& budget,
                    const EvictOptions& options, Engine* leased = nullptr);
  /// Applies its last policy again to a cache that was rebuilt; what is left may be too short for that.
  /// Returns what to tell about it.
  std::string evict_again(Content& rebuilt, const Progress& progress = {});
};

/// Logits after each of `tokens`, the first of which is the pending one, on a fork: [tokens][vocabulary].
std::vector<float> look_ahead(const Content& content, Engine& engine, std::span<const Token> tokens);

/// Notes of a report, one after the other.
inline void add_note(std::string& notes, std::string_view note) {
  notes.append(notes.empty() || note.empty() ? "" : "; ").append(note);
}

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
