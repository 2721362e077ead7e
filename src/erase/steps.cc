#include <algorithm>
#include <limits>

#include "base/stopwatch.h"
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

// The entry of the transcript's last token goes: it is pending.
void leave_last_pending(EraseWork& work) {
  work.cache.remove({work.transcript.positions.back(), std::numeric_limits<Position>::max()});
}

// Positions [first of the span, first after it).
Span positions_of(const Transcript& t, Span span) {
  return {t.positions[span.begin],
          span.end < t.size() ? t.positions[span.end] : t.positions[span.end - 1] + 1};
}

}  // namespace

void Transcript::cut(Span span) {
  tokens.erase(tokens.begin() + span.begin, tokens.begin() + span.end);
  positions.erase(positions.begin() + span.begin, positions.begin() + span.end);
  exact = std::min(exact, span.begin);
}

void remove_spans(EraseWork& work) {
  for (size_t i = work.spans.size(); i-- > 0;) {
    work.cache.remove(positions_of(work.transcript, work.spans[i]));
    work.transcript.cut(work.spans[i]);
  }
  leave_last_pending(work);
}

std::vector<int> remove_and_shift(EraseWork& work) {
  Transcript& t = work.transcript;
  for (size_t i = work.spans.size(); i-- > 0;) {  // from the last, so that earlier indices stay valid
    const Span span = work.spans[i];
    const Span gap = positions_of(t, span);
    work.cache.remove(gap);
    t.cut(span);
    if (span.begin == t.size()) continue;  // nothing follows
    if (work.cache.last_position() >= gap.end) work.cache.shift(gap.end, -gap.size());
    for (int k = span.begin; k < t.size(); k++) t.positions[k] -= gap.size();
  }
  leave_last_pending(work);
  std::vector<int> seams;
  int removed = 0;
  for (const Span span : work.spans) {
    seams.push_back(span.begin - removed);
    removed += span.size();
  }
  return seams;
}

void forward_again(EraseWork& work, Span tokens) {
  const auto positions =
      std::span<const Position>(work.transcript.positions).subspan(tokens.begin, tokens.size());
  std::vector<std::vector<Position>> before;
  if (work.evicted) {
    before = held(work.cache, positions);
    work.cache.remove({positions.front(), positions.back() + 1});
    work.cache.insert(positions);
  } else {
    work.cache.overwrite(positions);
  }
  Run run;
  run.cache = &work.cache;
  run.tokens = std::span<const Token>(work.transcript.tokens).subspan(tokens.begin, tokens.size());
  run.positions = positions;
  const Stopwatch watch;
  work.engine.forward({&run, 1}, {.progress = work.options.progress});
  work.forward_ms += watch.ms();
  work.tokens_recomputed += tokens.size();
  if (work.evicted) keep_held(work.cache, positions, before);
}

}  // namespace kvedit
