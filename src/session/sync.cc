// Sync: the transcript becomes the conversation that a client holds now. Its tokens are compared with the
// cached ones; what differs is edited, what is new is read.
#include <algorithm>

#include "compute/windows.h"
#include "session/diff.h"
#include "session/state.h"
#include "session/wanted.h"

namespace kvedit {
namespace {

void check_context(Position last, const Hparams& h) {
  if (last >= h.context_length) {
    fail(ErrorCode::context_full, "sync", "the conversation would end at position ", last,
         ", past the model's context, ", h.context_length);
  }
}

// Tokens whose entries an exact sync keeps: everything from the first difference on is read again.
int kept_exactly(const Transcript& t, bool evicted, const Wanted& want, SyncReport& report,
                 const Hparams& h) {
  const size_t least = std::min(t.tokens.size(), want.tokens.size());
  const auto common =
      static_cast<int>(std::mismatch(t.tokens.begin(), t.tokens.begin() + least, want.tokens.begin()).first -
                       t.tokens.begin());
  report.edits = common < t.size() || common < static_cast<int>(want.tokens.size());
  report.erased = t.size() - common;
  int kept = std::min(common, std::max(0, t.size() - 1));
  // What is only added to an evicted cache is read behind what it holds, as append() does.
  const bool adds = evicted && common == t.size();
  if (!adds) kept = std::min(kept, t.exact);
  check_context(static_cast<Position>(want.tokens.size()) - 1, h);
  return kept;
}

void sync_exactly(EraseWork& work, const Wanted& want, SyncReport& report, const Hparams& h) {
  Transcript& t = work.transcript;
  const int kept = kept_exactly(t, work.evicted, want, report, h);
  t.tokens = want.tokens;
  t.positions.resize(t.tokens.size());
  rebuild(work, kept);
}

// New tokens, `after` of the conversation, in front of the at-th of the kept ones.
struct Insertion {
  int at;
  Span after;
};

// The pending token has no entry: of `kept` tokens the last one counts as new.
std::vector<Insertion> insertions(std::span<const Hunk> hunks, int kept, int wanted) {
  std::vector<Insertion> all;
  const auto add = [&](int at, Span after) {
    if (after.size() == 0) return;
    if (!all.empty() && all.back().after.end == after.begin) {
      all.back().after.end = after.end;
    } else {
      all.push_back({at, after});
    }
  };
  int removed = 0;
  int last = wanted;  // of the conversation, one after where the pending token stands
  for (const Hunk& hunk : hunks) {
    const int at = hunk.before.begin - removed;
    if (at == kept) last = std::min(last, hunk.after.begin);
    if (at < kept) add(at, hunk.after);
    removed += hunk.before.size();
  }
  add(kept - 1, {last - 1, wanted});
  return all;
}

// The kept tokens behind an insertion move up; then all that is new is read in one pass.
void insert_new(EraseWork& work, std::span<const Insertion> all, std::span<const Token> want,
                const Hparams& h) {
  Transcript& t = work.transcript;
  const Position end = t.positions.back();
  t.cut({t.size() - 1, t.size()});
  std::vector<Position> positions;
  std::vector<Span> read;
  for (size_t i = all.size(); i-- > 0;) {  // from the last, so that earlier indices stay valid
    const int at = all[i].at, count = all[i].after.size();
    const bool last = at == t.size();
    const Position from = last ? end : t.positions[at];
    check_context((last ? end : t.positions.back()) + count - last, h);
    if (!last) {
      move_behind(work, at, from, count);
      for (Position& p : positions) p += count;
    }
    const auto tokens = want.subspan(all[i].after.begin, count);
    t.tokens.insert(t.tokens.begin() + at, tokens.begin(), tokens.end());
    t.positions.insert(t.positions.begin() + at, count, 0);
    for (int k = 0; k < count; k++) t.positions[at + k] = from + k;
    positions.insert(positions.begin(), t.positions.begin() + at, t.positions.begin() + at + count);
    // An exact prefix has positions 0..n-1: neither a gap nor steering states stand in front.
    if (t.exact >= at && from == at && !work.evicted) t.exact = at + count;
    read.insert(read.begin(), all[i].after);
  }
  positions.pop_back();  // the last token is pending
  read.back().end--;
  if (!positions.empty()) {
    work.cache.insert(positions);
    forward_again(work, read);
  }
  leave_last_pending(work.cache, work.transcript);
}

// What is gone is erased by the method, what is new is inserted, the rest keeps its entries.
void sync_in_place(EraseWork& work, const EraseMethod& method, const Wanted& want, SyncReport& report,
                   const Hparams& h) {
  Transcript& t = work.transcript;
  const std::vector<Hunk> hunks = diff(t.tokens, want.tokens);
  report.edits = static_cast<int>(hunks.size());
  std::vector<Span> gone;
  for (const Hunk& hunk : hunks) {
    if (hunk.before.size() > 0) gone.push_back(hunk.before);
    report.erased += hunk.before.size();
  }
  if (report.erased == t.size()) return sync_exactly(work, want, report, h);
  if (!gone.empty()) {
    work.spans = gone;
    method.apply(work);
    report.steered = work.tokens_recomputed;
  }
  if (t.tokens == want.tokens) return;
  insert_new(work, insertions(hunks, t.size(), static_cast<int>(want.tokens.size())), want.tokens, h);
}

// Where the conversation only goes on behind what is cached, or behind what of it is kept: this many of its
// tokens come before that.
size_t tokens_before_tail(std::span<const Hunk> hunks, int cached, size_t wanted) {
  if (hunks.empty() || hunks.back().before.end < cached || hunks.back().after.end < static_cast<int>(wanted))
    return wanted;
  return hunks.back().after.begin;
}

}  // namespace

int Session::State::replace_tail(Content& c, int kept, std::span<const Token> tokens,
                                 const Progress& progress) {
  Transcript& t = c.transcript;
  // What is read next may see positions that sliding windows have freed: then all is read again.
  const Position next = kept > 0 ? t.positions[kept - 1] + 1 : 0;
  if (!window_held(c.cache, model->network().hparams(), next - kWindowReserve)) kept = 0;
  if (kept == 0) {
    c.cache = model->new_cache();
    t = {};
    c.evicted = false;
  } else {
    t.cut({kept, t.size()});
    leave_last_pending(c.cache, t);
  }
  append(c, tokens.subspan(kept), progress);
  return std::max(0, kept - 1);  // the last of them was pending
}

SyncReport Session::sync(std::span<const Message> messages, const SyncOptions& options) {
  const Settled use(*state_);
  const Stopwatch watch;
  state_->adopt_upgrade();
  const bool exactly = options.policy == "exact";
  if (!exactly && options.policy != "shift" && options.policy != "steer") {
    fail(ErrorCode::invalid_argument, "sync", "no policy '", options.policy,
         "'; there are exact, steer, shift");
  }
  if (messages.empty()) fail(ErrorCode::invalid_argument, "sync", "a conversation of 0 messages");
  const auto adapter = std::dynamic_pointer_cast<const Lora>(options.adapter);
  if (options.policy == "steer" && !adapter) {
    fail(ErrorCode::invalid_argument, "sync",
         "steer needs an eraser for this model: SyncOptions::adapter is none");
  }
  const Content& content = state_->content;
  const Hparams& h = state_->model->network().hparams();
  const Wanted want = wanted(state_->model->tokenizer(), content.transcript, messages, options.reply);
  if (want.tokens.empty()) {
    fail(ErrorCode::invalid_argument, "sync", "the chat template makes no tokens of the ", messages.size(),
         " messages");
  }
  SyncReport report;
  report.policy = options.policy;
  report.tokens = static_cast<int>(want.tokens.size());
  Content edited = content.fork();
  bool rebuilt = false;
  const bool capped = !state_->cap.policy.empty();
  const int evictions = state_->cap.evictions;
  Wanted head{want.tokens, {}, {}};  // without what is only added, which is read in blocks under a cap
  if (capped && content.transcript.size() > 0) {
    const auto hunks = diff(content.transcript.tokens, want.tokens);
    head.tokens.resize(tokens_before_tail(hunks, content.transcript.size(), want.tokens.size()));
  }
  if (capped && (exactly || content.transcript.size() == 0 || head.tokens.empty())) {
    const int kept = kept_exactly(content.transcript, content.evicted, want, report, h);
    report.read = report.tokens - 1 - state_->replace_tail(edited, kept, want.tokens, options.progress);
  } else {
    const ModelImpl::Lease engine(*state_->model);
    const EraseOptions erase_options{.progress = options.progress};
    EraseWork work{edited.cache, edited.transcript, {}, erase_options, adapter, *engine, content.evicted};
    work.free_windows = state_->frees_windows(content);
    if (exactly || content.transcript.size() == 0) {
      sync_exactly(work, want, report, h);
    } else {
      sync_in_place(work, find_erase_method(options.policy), head, report, h);
    }
    report.read = work.tokens_recomputed - report.steered;
    report.note = work.note;
    rebuilt = content.evicted && !work.evicted;
  }
  if (edited.transcript.size() < report.tokens) {
    const auto tail = std::span<const Token>(want.tokens).subspan(edited.transcript.size());
    state_->append(edited, tail, options.progress);
    report.read += static_cast<int>(tail.size());
  }
  edited.transcript.messages = want.messages;
  edited.transcript.waiting = want.waiting;
  if (rebuilt) add_note(report.note, state_->evict_again(edited, options.progress));
  state_->hold_cap(edited, 0);
  state_->require_windows(edited, "sync");
  state_->check_limit(edited);
  report.reused = std::max(0, report.tokens - 1 - report.read);
  const bool all_exact = edited.transcript.exact == edited.transcript.size();
  report.exactness = all_exact || rebuilt        ? Exactness::exact
                     : options.policy == "steer" ? Exactness::learned
                                                 : Exactness::approximate;
  for (const Hunk& hunk : diff(content.transcript.tokens, want.tokens)) {
    const auto first = content.transcript.tokens.begin() + hunk.before.begin;
    if (!all_exact && hunk.before.size() > 0) edited.erased.emplace_back(first, first + hunk.before.size());
  }
  if (all_exact) edited.erased.clear();
  if (state_->cap.evictions > evictions) {  // undo would pin what the cap freed
    state_->history.clear();
    state_->replace(std::move(edited));
  } else {
    state_->commit(std::move(edited), "sync (" + options.policy + ")");
  }
  report.ms = watch.ms();
  return report;
}

}  // namespace kvedit
