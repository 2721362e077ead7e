#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/stopwatch.h"
#include "compute/windows.h"
#include "erase/method.h"

namespace kvedit {
namespace {

// Entries of `positions` that each lane holds, [layer * kv_heads + head].
std::vector<std::vector<Position>> held(const Cache& cache, std::span<const Position> positions) {
  std::vector<std::vector<Position>> all;
  for (int lane = 0; lane < cache.layers() * cache.kv_heads(); lane++) {
    std::vector<Position>& mine = all.emplace_back();
    for (const Position p : positions) {
      if (cache.lane(lane / cache.kv_heads(), lane % cache.kv_heads()).find(p)) mine.push_back(p);
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

constexpr Position kLast = std::numeric_limits<Position>::max();

Span positions_of(const Transcript& t, Span span) {
  return {t.positions[span.begin], t.positions[span.end - 1] + 1};
}

}  // namespace

void Transcript::cut(Span span) {
  // A reply that was opened with no tokens stays; one that is cut wholly goes.
  const bool waits = !messages.empty() && messages.back().reply && message(messages.size() - 1).size() == 0;
  tokens.erase(tokens.begin() + span.begin, tokens.begin() + span.end);
  positions.erase(positions.begin() + span.begin, positions.begin() + span.end);
  exact = std::min(exact, span.begin);
  for (MessageMark& m : messages) {
    if (m.begin > span.begin) m.begin = std::max(span.begin, m.begin - span.size());
  }
  std::vector<MessageMark> left;  // without those of which nothing is
  for (size_t i = 0; i < messages.size(); i++) {
    if (message(i).size() > 0 || (waits && i + 1 == messages.size())) left.push_back(messages[i]);
  }
  messages = std::move(left);
}

void Transcript::forget_steered(Span positions) {
  std::erase_if(steered, [&](Position p) { return p >= positions.begin && p < positions.end; });
}

void leave_last_pending(Cache& cache, Transcript& transcript) {
  const Span behind{transcript.positions.back(), kLast};
  cache.remove(behind);
  transcript.forget_steered(behind);
}

void remove_spans(EraseWork& work, std::span<const Span> spans) {
  for (size_t i = spans.size(); i-- > 0;) {
    const Span gap = positions_of(work.transcript, spans[i]);
    work.cache.remove(gap);
    work.transcript.forget_steered(gap);
    work.transcript.cut(spans[i]);
  }
  leave_last_pending(work.cache, work.transcript);
}

void move_behind(EraseWork& work, int token, Position from, int delta) {
  Transcript& t = work.transcript;
  if (work.cache.last_position() >= from) work.cache.shift(from, delta);
  for (int k = token; k < t.size(); k++) t.positions[k] += delta;
  for (Position& p : t.steered) p += p >= from ? delta : 0;
}

int states_kept(Span span, int states) { return states == 0 ? span.size() : std::min(states, span.size()); }

void close_gap(EraseWork& work, Span gap, int from) {
  work.cache.remove(gap);
  work.transcript.forget_steered(gap);
  move_behind(work, from, gap.end, -gap.size());
}

std::vector<int> remove_and_shift(EraseWork& work) {
  Transcript& t = work.transcript;
  for (size_t i = work.spans.size(); i-- > 0;) {  // from the last, so that earlier indices stay valid
    const Span span = work.spans[i];
    const Span gap = positions_of(t, span);
    t.cut(span);
    close_gap(work, gap, span.begin);
  }
  leave_last_pending(work.cache, work.transcript);
  std::vector<int> seams;
  int removed = 0;
  for (const Span span : work.spans) {
    seams.push_back(span.begin - removed);
    removed += span.size();
  }
  return seams;
}

std::vector<Span> repair_windows(const EraseWork& work, std::span<const int> seams, int window, int tail) {
  const int size = work.transcript.size();
  const int cached = size - 1;
  window = std::min(window, size);
  std::vector<Span> windows;
  for (const int seam : seams) windows.push_back({seam, seam + window});
  windows.push_back({std::max(seams.front(), cached - work.options.repair_tail.value_or(tail)), cached});
  return windows;
}

void forward_windows(EraseWork& work, std::span<const Span> windows) {
  const int cached = work.transcript.size() - 1;
  std::vector<Span> sorted(windows.begin(), windows.end());
  std::sort(sorted.begin(), sorted.end(), [](Span a, Span b) { return a.begin < b.begin; });
  std::vector<Span> disjoint;
  int done = 0;
  for (Span window : sorted) {
    window = {std::max(window.begin, done), std::min(window.end, cached)};
    if (window.size() <= 0) continue;
    disjoint.push_back(window);
    done = window.end;
  }
  forward_again(work, disjoint);
}

void rebuild(EraseWork& work, int kept) {
  Transcript& t = work.transcript;
  if (t.size() == 0) fail(ErrorCode::invalid_argument, "erase", "no tokens would be left");
  const Hparams& h = work.engine.network().hparams();
  int start = std::min(kept, t.size() - 1);  // the last one is pending
  Position next = start > 0 ? t.positions[start - 1] + 1 : 0;
  if (start > 0 && !window_held(work.cache, h, next - kWindowReserve)) {
    work.note = cat("read again from the start, not from token ", start,
                    ": sliding-window layers hold positions ", work.cache.held_from(), ".. only");
    start = next = 0;
  }
  const Span behind{next, kLast};
  work.cache.remove(behind);
  t.forget_steered(behind);
  for (int i = start; i < t.size(); i++) t.positions[i] = next++;
  const Span again{start, t.size() - 1};
  if (start == 0) work.evicted = false;
  if (again.size() > 0) {
    Run run;
    run.cache = &work.cache;
    run.tokens = std::span<const Token>(t.tokens).subspan(again.begin, again.size());
    run.positions = std::span<const Position>(t.positions).subspan(again.begin, again.size());
    const Stopwatch watch;
    read_tokens(work.engine, run, {.free_windows = work.free_windows, .progress = work.options.progress});
    work.forward_ms += watch.ms();
    work.tokens_recomputed += again.size();
  }
  if (start <= t.exact) t.exact = t.size();
}

void forward_again(EraseWork& work, std::span<const Span> spans, std::shared_ptr<const Lora> adapter) {
  const Transcript& t = work.transcript;
  std::vector<Token> tokens;
  std::vector<Position> positions;
  for (const Span span : spans) {
    tokens.insert(tokens.end(), t.tokens.begin() + span.begin, t.tokens.begin() + span.end);
    positions.insert(positions.end(), t.positions.begin() + span.begin, t.positions.begin() + span.end);
  }
  if (tokens.empty()) return;
  require_window(work.cache, work.engine.network().hparams(), positions.front(), "erase", "reading again");
  std::vector<std::vector<Position>> before;
  if (work.evicted) {
    before = held(work.cache, positions);
    for (size_t i = 0, end = 0; i < positions.size(); i = end) {  // stretches without a gap
      for (end = i + 1; end < positions.size() && positions[end] == positions[end - 1] + 1;) end++;
      work.cache.remove({positions[i], positions[end - 1] + 1});
    }
    work.cache.insert(positions);
  } else {
    work.cache.overwrite(positions);
  }
  Run run;
  run.cache = &work.cache;
  run.tokens = tokens;
  run.positions = positions;
  run.adapter = std::move(adapter);
  const Stopwatch watch;
  work.engine.forward({&run, 1}, {.progress = work.options.progress});
  work.forward_ms += watch.ms();
  work.tokens_recomputed += static_cast<int>(tokens.size());
  if (work.evicted) keep_held(work.cache, positions, before);
}

}  // namespace kvedit
