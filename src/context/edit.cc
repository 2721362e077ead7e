#include "context/edit.h"

#include <algorithm>
#include <limits>

#include "context/windows.h"
#include "tools/stopwatch.h"
#include "tools/text.h"

namespace kvedit {
namespace {

// Entries of `positions` that each lane holds, [layer * kv_heads + head].
std::vector<std::vector<Position>> held(const Cache& cache, std::span<const Position> positions) {
  std::vector<std::vector<Position>> all;
  for (int layer = 0; layer < cache.layers(); layer++) {
    for (int head = 0; head < cache.kv_heads(); head++) {
      std::vector<Position>& mine = all.emplace_back();
      for (const Position p : positions) {
        if (cache.lane(layer, head).find(p)) mine.push_back(p);
      }
    }
  }
  return all;
}

// Drops from each lane the entries of `positions` that it did not hold before.
void keep_held(Cache& cache, std::span<const Position> positions,
               const std::vector<std::vector<Position>>& before) {
  for (size_t lane = 0; lane < before.size(); lane++) {
    if (before[lane].size() == positions.size()) continue;
    const int layer = static_cast<int>(lane) / cache.kv_heads();
    const int head = static_cast<int>(lane) % cache.kv_heads();
    const std::vector<Position> now = cache.lane(layer, head).positions();
    std::vector<int> kept;
    for (size_t i = 0; i < now.size(); i++) {
      const bool again = std::binary_search(positions.begin(), positions.end(), now[i]);
      if (!again || std::binary_search(before[lane].begin(), before[lane].end(), now[i])) {
        kept.push_back(static_cast<int>(i));
      }
    }
    cache.keep(layer, head, kept);
  }
}

void require_position(Position last, const Hparams& h, std::string_view where) {
  if (last >= h.context_length) {
    fail(ErrorCode::context_full, where, "the text would end at position ", last,
         ", past the model's context, ", h.context_length);
  }
}

constexpr Position kLast = std::numeric_limits<Position>::max();

}  // namespace

int states_kept(Span span, int states) { return states == 0 ? span.size() : std::min(states, span.size()); }

Edit::Edit(Context fork, Engine& engine, EditOptions options)
    : context_(std::move(fork)), engine_(engine), options_(std::move(options)) {}

Context Edit::finish() && {
  if (transcript().size() > 0) context_.require_windows(options_.where);
  context_.check_edit(options_.where);
  return std::move(context_);
}

void Edit::cut(Span span) {
  context_.transcript.cut(span);
  context_.exact = std::min(context_.exact, span.begin);
}

// Moves what follows, transcript tokens from `token` on and entries from position `from` on, keys turned.
void Edit::move_behind(int token, Position from, int delta) {
  Transcript& t = context_.transcript;
  if (context_.cache.last_position() >= from) context_.cache.shift(from, delta);
  for (int k = token; k < t.size(); k++) t.positions[k] += delta;
  for (Position& p : t.steered) p += p >= from ? delta : 0;
}

// Removes the entries at these positions and moves what follows, from token `from` on, down into the gap.
void Edit::close_gap(Span positions, int from) {
  context_.cache.remove(positions);
  context_.transcript.forget_steered(positions);
  move_behind(from, positions.end, -positions.size());
}

void Edit::remove(std::span<const Span> spans) {
  for (size_t i = spans.size(); i-- > 0;) {  // from the last, so that earlier indices stay valid
    const Span gap = transcript().positions_of(spans[i]);
    context_.cache.remove(gap);
    context_.transcript.forget_steered(gap);
    cut(spans[i]);
  }
  context_.leave_last_pending();
}

std::vector<int> Edit::remove_and_shift(std::span<const Span> spans) {
  for (size_t i = spans.size(); i-- > 0;) {
    const Span gap = transcript().positions_of(spans[i]);
    cut(spans[i]);
    close_gap(gap, spans[i].begin);
  }
  context_.leave_last_pending();
  std::vector<int> seams;
  int removed = 0;
  for (const Span span : spans) {
    seams.push_back(span.begin - removed);
    removed += span.size();
  }
  return seams;
}

void Edit::leave_steering(Span span, int states) {
  Transcript& t = context_.transcript;
  const auto end = t.positions.begin() + span.end;
  const Span gap{t.positions[span.begin], *(end - states)};
  t.steered.insert(t.steered.end(), end - states, end);
  std::sort(t.steered.begin(), t.steered.end());
  cut(span);
  if (gap.size() > 0) close_gap(gap, span.begin);
  context_.leave_last_pending();
}

void Edit::truncate(int kept) {
  cut({kept, transcript().size()});
  context_.leave_last_pending();
}

void Edit::insert(std::span<const Insertion> insertions) {
  Transcript& t = context_.transcript;
  // The pending token has no entry: with what is new beside it, it is read at the end.
  const int before = t.size() - 1;
  const Position end = t.positions.back();
  std::vector<Token> last;
  size_t in_front = 0;  // of the pending token, in `last`
  std::vector<Insertion> all;
  for (const Insertion& insertion : insertions) {
    if (insertion.at < before) {
      all.push_back(insertion);
    } else {
      last.insert(last.end(), insertion.tokens.begin(), insertion.tokens.end());
      if (insertion.at == before) in_front = last.size();
    }
  }
  last.insert(last.begin() + static_cast<ptrdiff_t>(in_front), t.tokens.back());
  all.push_back({before, last});
  t.tokens.pop_back();
  t.positions.pop_back();
  context_.exact = std::min(context_.exact, before);
  std::vector<Span> read;
  std::vector<Position> positions;
  for (size_t i = all.size(); i-- > 0;) {
    const int at = all[i].at, count = static_cast<int>(all[i].tokens.size());
    const bool behind_all = at == t.size();
    const Position from = behind_all ? end : t.positions[at];
    require_position((behind_all ? end : t.positions.back()) + count - behind_all, context_.hparams(),
                     options_.where);
    if (!behind_all) {
      move_behind(at, from, count);
      for (Position& p : positions) p += count;
      for (Span& span : read) span = {span.begin + count, span.end + count};
    }
    t.tokens.insert(t.tokens.begin() + at, all[i].tokens.begin(), all[i].tokens.end());
    t.positions.insert(t.positions.begin() + at, count, 0);
    for (int k = 0; k < count; k++) t.positions[at + k] = from + k;
    for (MessageMark& m : t.messages) m.begin += m.begin > at ? count - behind_all : 0;
    positions.insert(positions.begin(), t.positions.begin() + at, t.positions.begin() + at + count);
    // An exact prefix has positions 0..n-1: neither a gap nor steering states stand in front.
    if (context_.exact >= at && from == at && !context_.evicted) context_.exact = at + count;
    read.insert(read.begin(), Span{at, at + count});
  }
  positions.pop_back();  // the last token is pending
  read.back().end--;
  if (!positions.empty()) {
    context_.cache.insert(positions);
    forward_again(read);
  }
  context_.leave_last_pending();
}

void Edit::forward_again(std::span<const Span> spans, std::shared_ptr<const Lora> adapter) {
  const Transcript& t = transcript();
  std::vector<Token> tokens;
  std::vector<Position> positions;
  for (const Span span : spans) {
    tokens.insert(tokens.end(), t.tokens.begin() + span.begin, t.tokens.begin() + span.end);
    positions.insert(positions.end(), t.positions.begin() + span.begin, t.positions.begin() + span.end);
  }
  if (tokens.empty()) return;
  Cache& cache = context_.cache;
  require_window(cache, context_.hparams(), positions.front(), options_.where, "reading again");
  std::vector<std::vector<Position>> before;
  if (context_.evicted) {
    before = held(cache, positions);
    for (size_t i = 0, end = 0; i < positions.size(); i = end) {  // stretches without a gap
      for (end = i + 1; end < positions.size() && positions[end] == positions[end - 1] + 1;) end++;
      cache.remove({positions[i], positions[end - 1] + 1});
    }
    cache.insert(positions);
  } else {
    cache.overwrite(positions);
  }
  Run run;
  run.cache = &cache;
  run.tokens = tokens;
  run.positions = positions;
  run.adapter = std::move(adapter);
  const Stopwatch watch;
  engine_.forward({&run, 1}, options_.progress);
  forward_ms_ += watch.ms();
  forwarded_ += static_cast<int>(tokens.size());
  if (context_.evicted) keep_held(cache, positions, before);
}

void Edit::rebuild(int kept) {
  Transcript& t = context_.transcript;
  if (t.size() == 0) fail(ErrorCode::invalid_argument, options_.where, "no tokens would be left");
  int start = std::min(kept, t.size() - 1);  // the last one is pending
  Position next = start > 0 ? t.positions[start - 1] + 1 : 0;
  if (start > 0 && !window_goes_on(context_.cache, context_.hparams(), next)) {
    note_ = cat("read again from the start, not from token ", start,
                ": sliding-window layers hold positions ", context_.cache.held_from(), ".. only");
    start = next = 0;
  }
  require_position(next + t.size() - 1 - start, context_.hparams(), options_.where);
  context_.cache.remove({next, kLast});
  t.forget_steered({next, kLast});
  for (int i = start; i < t.size(); i++) t.positions[i] = next++;
  const Span again{start, t.size() - 1};
  if (start == 0) {
    rebuilt_ = context_.evicted;
    context_.evicted = false;
  }
  if (again.size() > 0) {
    Run run;
    run.cache = &context_.cache;
    run.tokens = std::span<const Token>(t.tokens).subspan(again.begin, again.size());
    run.positions = std::span<const Position>(t.positions).subspan(again.begin, again.size());
    const Stopwatch watch;
    read_tokens(engine_, run, {.free_windows = options_.free_windows, .progress = options_.progress});
    forward_ms_ += watch.ms();
    forwarded_ += again.size();
  }
  if (start <= context_.exact && !context_.evicted) context_.exact = t.size();
}

void Edit::rebuild_without(std::span<const Span> spans) {
  for (size_t i = spans.size(); i-- > 0;) cut(spans[i]);
  rebuild(context_.exact);
}

void Edit::forget_messages() {
  context_.transcript.messages.clear();
  context_.transcript.waiting.clear();
}

void Edit::rebuild_as(std::span<const Token> tokens, int kept) {
  Transcript& t = context_.transcript;
  forget_messages();
  t.tokens.assign(tokens.begin(), tokens.end());
  t.positions.resize(t.tokens.size());
  context_.exact = std::min(context_.exact, kept);
  rebuild(kept);
}

}  // namespace kvedit
