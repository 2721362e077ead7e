// What a session holds, and how its calls share it.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "base/cancel.h"
#include "context/edit.h"
#include "kvedit/session.h"
#include "session/background_prefill.h"
#include "session/model_impl.h"
#include "tools/stopwatch.h"
#include "tools/text.h"

namespace kvedit {

class SnapshotWriter;  // cache/snapshot.h
struct ChosenMethod;   // erase/method.h
struct Continuation;   // session/conversation.h
struct Wanted;         // session/wanted.h

/// What holds a cache at a budget.
struct Cap {
  std::string policy;  // empty: no cap
  Budget budget;
  EvictOptions options;
  int evictions = 0;
  double ms = 0;
};

struct Session::State {
  State(std::shared_ptr<Model> m, const SessionOptions& o)
      : handle(std::move(m)), model(implementation(*handle)), options(o), context(model->new_context()) {}
  State(const State& parent, Context c)
      : handle(parent.handle),
        model(parent.model),
        options(parent.options),
        context(std::move(c)),
        cap{parent.cap.policy, parent.cap.budget, {.seed = parent.cap.options.seed}} {}

  /// Makes a state that gives its pages back to the system at its end.
  template <typename... Arguments>
  static std::shared_ptr<State> make(Arguments&&... arguments) {
    return {new State(std::forward<Arguments>(arguments)...), [](State* state) {
              const std::shared_ptr<PagePool> pool = state->model->page_pool();
              delete state;
              pool->trim();
            }};
  }

  struct Step {
    std::string what;
    Context before;
    int tokens_after = 0;  // of the transcript, right after the edit
  };

  std::shared_ptr<Model> handle;  // as the caller gave it
  std::shared_ptr<ModelImpl> model;
  SessionOptions options;
  Context context;
  std::deque<Step> history;
  std::vector<Step> undone;                // contexts that undo took back, the last one last
  enum Use : int { kFree, kCall, kLook };  // kLook: for the moment of stats()
  std::atomic<int> use{kFree};
  // Logits of the next token while the pending one's entry is in the cache already, so that a loop of
  // logits() and append_tokens() forwards each token once. Every other call settles first.
  std::vector<float> ahead;
  std::shared_ptr<BackgroundPrefill> upgrade;  // while there is one; work in steps holds it too
  UpgradeStatus last_upgrade;                  // how the last one ended
  Cap cap;
  // What stats() and upgrade_status() tell while another call is at work; `seen` guards these, and `upgrade`
  // and `last_upgrade` against being replaced.
  mutable std::mutex seen;
  mutable SessionStats last_stats;
  double unverified = 0;  // erases, times the rate at which they are to be verified

  /// Makes the last token pending again: its entry goes, its logits are forgotten. Throws Error(no_memory),
  /// and nothing changes, where a fork shares the entry's pages and there are none to copy them to.
  void settle();
  /// Forks the context with its last token pending, for calls that change nothing: the logits made ahead
  /// stay.
  Context settled_fork();

  /// Swaps the edited context in. Does not fail.
  void replace(Context edited);
  /// Swaps the edited context in; the old one becomes a step of history.
  void commit(Context edited, std::string what);
  /// Throws Error(no_memory) when the context passes the session's byte limit.
  void check_limit(const Context& edited) const;
  /// Tells whether this session frees what is out of reach of the model's sliding windows.
  bool frees_windows() const {
    return options.swa == SlidingWindow::window && model->network().hparams().window > 0;
  }
  /// Tells whether windows are freed while this context is read again: not where a policy comes after that
  /// which reads more of it once more.
  bool frees_windows(const Context& c) const;
  void free_windows() noexcept;
  /// Options for an edit of the session's context; `where`: the part of the library that errors name.
  EditOptions edit_options(std::string_view where, const Progress& progress) const {
    return {where, frees_windows(context), progress};
  }
  class Generating;
  AppendReport append_reported(std::span<const Token> tokens, const Progress& progress);
  void append(std::span<const Token> tokens, const Progress& progress);
  void append(const Continuation& more, const Progress& progress);
  /// Appends to a context that is not the session's yet; under a cap in blocks, each evicted behind.
  void append(Context& c, std::span<const Token> tokens, const Progress& progress);
  /// Appends one block, wholly or not at all.
  void append_block(Context& c, std::span<const Token> tokens, const Progress& progress);
  /// Evicts what passes the cap; `slack`: the share of the cap to go below it, `leased` the caller's engine.
  void hold_cap(Context& c, double slack, Engine* leased = nullptr);
  /// Edits a fork of the context until its text is `want`, and fills in what report tells of that. rebuilt:
  /// an evicted cache was read anew.
  Context synced(const Wanted& want, const ChosenMethod& method, const std::shared_ptr<const Lora>& adapter,
                 const Progress& progress, SyncReport& report, bool& rebuilt);
  /// Makes the transcript `tokens`, of which the first `kept` stay as they are; under a cap in blocks, each
  /// evicted behind. Returns how many entries stayed: none where sliding windows have freed what the rest
  /// reads.
  int replace_tail(Context& c, int kept, std::span<const Token> tokens, const Progress& progress);
  /// The transcript has changed: what was undone is no longer to be had, a running upgrade follows, and
  /// stats() tells it while this call goes on.
  void publish();
  void publish_tokens();  // the same after a token, of which stats() tells no more than that
  void follow();
  /// Makes `next` the running upgrade, or none, and `last` how the one before ended.
  void set_upgrade(std::shared_ptr<BackgroundPrefill> next, const UpgradeStatus& last);
  /// Forgets history in both directions.
  void forget_history() {
    history.clear();
    undone.clear();
  }
  SessionStats stats_now() const;
  void write(SnapshotWriter& file);
  /// Swaps the exact cache in, if there is one ready; a failure is kept in last_upgrade.
  void adopt_upgrade();
  void finish_upgrade();
  /// Begins to read the exact cache, on a thread or for the steps of work.
  std::shared_ptr<BackgroundPrefill> begin_upgrade(const UpgradeOptions& upgrade_options, bool on_thread);
  /// Erases spans on a fork of the context. The report lacks what is told of a context that is the session's.
  Context erased(const EraseOptions& erase_options, EraseReport& report);
  EraseReport planned(std::span<const Span> spans, const EraseOptions& erase_options);
  VerifyReport verify(const Context& now, const VerifyOptions& verify_options);
  /// Tells whether this erase is to be verified: asked for, or due by the session's rate.
  bool verification_due(const EraseOptions& erase_options);
  /// Evicts `edited` in place; for evict() and for edits that rebuild an evicted cache.
  EvictReport evict(Context& edited, std::string_view policy, const Budget& budget,
                    const EvictOptions& options, Engine* leased = nullptr);
  /// Applies its last policy again to a cache that was rebuilt; what is left may be too short for that.
  /// Returns what to tell about it.
  std::string evict_again(Context& rebuilt, const Progress& progress = {});
};

/// Throws Error(out_of_range) for more tokens than an option allows; negative: any number.
inline void check_forwarded(std::string_view where, int tokens, int limit) {
  if (limit < 0 || tokens <= limit) return;
  fail(ErrorCode::out_of_range, where, "it would forward ", tokens, " tokens; max_forwarded is ", limit);
}

/// Adds a note to those of a report.
inline void add_note(std::string& notes, std::string_view note) {
  notes.append(notes.empty() || note.empty() ? "" : "; ").append(note);
}

/// Holds a session for the time of a call; a second caller gets Error(busy).
class InUse {
 public:
  template <typename State>
  explicit InUse(State& state) : use_(state.use) {
    int use = State::kFree;
    while (!use_.compare_exchange_weak(use, State::kCall, std::memory_order_acquire)) {
      if (use == State::kCall)
        fail(ErrorCode::busy, "session", "another call is using this session; fork it, or wait");
      use = State::kFree;  // stats() looks at it, which takes microseconds
    }
  }
  ~InUse() { use_.store(0, std::memory_order_release); }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  std::atomic<int>& use_;
};

/// Holds a session for calls that look at the cache or change it: the last token is pending.
class Settled : public InUse {
 public:
  template <typename State>
  explicit Settled(State& state) : InUse(state) {
    state.settle();
  }
};

/// While it lives, work of this thread forwards nothing: passes succeed and leave entries without numbers.
class DryRun {
 public:
  DryRun();
  ~DryRun();
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;
  static bool on();
};

}  // namespace kvedit
