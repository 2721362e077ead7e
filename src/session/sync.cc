// Sync: the transcript becomes the conversation that a client holds now. Its tokens are compared with the
// cached ones; what differs is edited, what is new is read.
#include <algorithm>

#include "context/windows.h"
#include "erase/method.h"
#include "session/diff.h"
#include "session/state.h"
#include "session/wanted.h"

namespace kvedit {
namespace {

// Counts the tokens whose entries stay where everything from the first difference on is read again.
int kept_exactly(const Context& c, const Wanted& want, SyncReport& report) {
  const Transcript& t = c.transcript;
  const size_t least = std::min(t.tokens.size(), want.tokens.size());
  const auto common =
      static_cast<int>(std::mismatch(t.tokens.begin(), t.tokens.begin() + least, want.tokens.begin()).first -
                       t.tokens.begin());
  report.edits = common < t.size() || common < static_cast<int>(want.tokens.size());
  report.erased = t.size() - common;
  const int kept = std::min(common, std::max(0, t.size() - 1));
  // What is only added to an evicted cache is read behind what it holds, as append() does.
  const bool adds = c.evicted && common == t.size();
  return adds ? kept : std::min(kept, c.exact);
}

void sync_exactly(Edit& edit, const Wanted& want, SyncReport& report) {
  edit.rebuild_as(want.tokens, kept_exactly(edit.context(), want, report));
}

// What is gone is erased by the method, what is new is inserted, the rest keeps its entries.
void sync_in_place(Edit& edit, const ChosenMethod& method, std::shared_ptr<const Lora> adapter,
                   const Wanted& want, SyncReport& report) {
  const std::vector<Hunk> hunks = diff(edit.transcript().tokens, want.tokens);
  report.edits = static_cast<int>(hunks.size());
  std::vector<Span> gone;
  std::vector<Insertion> added;
  for (const Hunk& hunk : hunks) {
    if (hunk.after.size() > 0) {
      const auto tokens = std::span(want.tokens).subspan(hunk.after.begin, hunk.after.size());
      added.push_back({hunk.before.begin - report.erased, tokens});
    }
    if (hunk.before.size() > 0) gone.push_back(hunk.before);
    report.erased += hunk.before.size();
  }
  if (report.erased == edit.transcript().size()) return sync_exactly(edit, want, report);
  edit.forget_messages();
  if (!gone.empty()) {
    method.apply(edit, gone, std::move(adapter));
    report.recomputed = edit.tokens_forwarded();
  }
  if (!added.empty()) edit.insert(added);
}

// Where the conversation only goes on behind what is cached, or behind what of it is kept: this many of its
// tokens come before that.
size_t tokens_before_tail(std::span<const Hunk> hunks, int cached, size_t wanted) {
  if (hunks.empty() || hunks.back().before.end < cached || hunks.back().after.end < static_cast<int>(wanted))
    return wanted;
  return hunks.back().after.begin;
}

}  // namespace

int Session::State::replace_tail(Context& c, int kept, std::span<const Token> tokens,
                                 const Progress& progress) {
  const Transcript& t = c.transcript;
  // What is read next may see positions that sliding windows have freed: then all is read again.
  const Position next = kept > 0 ? t.positions[kept - 1] + 1 : 0;
  if (!window_goes_on(c.cache, c.hparams(), next)) kept = 0;
  if (kept == 0) {
    Context empty = model->new_context();
    empty.eviction = c.eviction;
    empty.erased = c.erased;
    c = std::move(empty);
  } else {
    const ModelImpl::Lease engine(*model);
    Edit edit(std::move(c), *engine, edit_options("sync", progress));
    edit.truncate(kept);
    c = std::move(edit).finish();
  }
  append(c, tokens.subspan(kept), progress);
  return std::max(0, kept - 1);  // the last of them was pending
}

SyncReport Session::sync(std::span<const Message> messages, const SyncOptions& options) {
  const Settled use(*state_);
  const CancelScope scope(options.cancel);
  const Stopwatch watch;
  state_->adopt_upgrade();
  if (messages.empty()) fail(ErrorCode::invalid_argument, "sync", "a conversation of 0 messages");
  const ChosenMethod method = choose_method(options.method);
  const auto adapter = eraser_of(options.adapter, method.info, "sync", "SyncOptions::adapter");
  const Context& context = state_->context;
  const Wanted want = wanted(state_->model->tokenizer(), context.transcript, messages, options.reply);
  if (want.tokens.empty()) {
    fail(ErrorCode::invalid_argument, "sync", "the chat template makes no tokens of the ", messages.size(),
         " messages");
  }
  SyncReport report;
  report.method = options.method;
  report.tokens = static_cast<int>(want.tokens.size());
  const int evictions = state_->cap.evictions;
  bool rebuilt = false;
  if (options.max_forwarded >= 0) {
    const DryRun forwards_nothing;
    SyncReport planned = report;
    state_->synced(want, method, adapter, {}, planned, rebuilt);
    check_forwarded("sync", planned.read + planned.recomputed, options.max_forwarded);
    rebuilt = false;
  }
  Context edited = state_->synced(want, method, adapter, options.progress, report, rebuilt);
  if (rebuilt) add_note(report.note, state_->evict_again(edited, options.progress));
  state_->hold_cap(edited, 0);
  state_->check_limit(edited);
  report.reused = std::max(0, report.tokens - 1 - report.read);
  const Exactness otherwise = method.info.exactness;
  report.exactness = edited.all_exact() || rebuilt   ? Exactness::exact
                     : otherwise == Exactness::exact ? Exactness::approximate
                                                     : otherwise;
  std::vector<std::vector<Token>> gone;
  for (const Hunk& hunk : diff(context.transcript.tokens, want.tokens)) {
    if (hunk.before.size() > 0) gone.push_back(context.transcript.text(hunk.before));
  }
  edited.remember(std::move(gone), report.exactness == Exactness::exact);
  if (options.forget) edited.erased.clear();
  if (options.forget || state_->cap.evictions > evictions) {  // undo would pin what the cap freed
    state_->forget_history();
    state_->replace(std::move(edited));
  } else {
    state_->commit(std::move(edited), "sync (" + options.method + ")");
  }
  report.ms = watch.ms();
  return report;
}

Context Session::State::synced(const Wanted& want, const ChosenMethod& method,
                               const std::shared_ptr<const Lora>& adapter, const Progress& progress,
                               SyncReport& report, bool& rebuilt) {
  const Transcript& t = context.transcript;
  const bool exactly = method.info.exactness == Exactness::exact || t.size() == 0;
  const bool capped = !cap.policy.empty();
  Context edited = context.fork();
  Wanted head{want.tokens, {}, {}};  // without what is only added, which is read in blocks under a cap
  if (capped && t.size() > 0) {
    head.tokens.resize(tokens_before_tail(diff(t.tokens, want.tokens), t.size(), want.tokens.size()));
  }
  if (capped && (exactly || head.tokens.empty())) {
    const int kept = kept_exactly(context, want, report);
    report.read = report.tokens - 1 - replace_tail(edited, kept, want.tokens, progress);
  } else {
    const ModelImpl::Lease engine(*model);
    Edit edit(std::move(edited), *engine, edit_options("sync", progress));
    if (exactly) {
      sync_exactly(edit, want, report);
    } else {
      sync_in_place(edit, method, adapter, head, report);
    }
    report.read = edit.tokens_forwarded() - report.recomputed;
    report.note = edit.note();
    rebuilt = edit.rebuilt();
    edited = std::move(edit).finish();
  }
  if (edited.transcript.size() < report.tokens) {
    const auto tail = std::span<const Token>(want.tokens).subspan(edited.transcript.size());
    append(edited, tail, progress);
    report.read += static_cast<int>(tail.size());
  }
  edited.transcript.messages = want.messages;
  edited.transcript.waiting = want.waiting;
  return edited;
}

}  // namespace kvedit
