#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "cache/cache.h"
#include "cache/page_data.h"
#include "tools/text.h"

namespace kvedit {
namespace {

// Slots [begin, count) of a page move.
struct Move {
  PageRef* page = nullptr;
  int begin = 0;
};

// Cosines and sines [pairs] of one layer's turn; angles in double, since delta may be large.
struct Turn {
  explicit Turn(const Rope& rope, int delta)
      : cosines(rope.frequencies.size()), sines(rope.frequencies.size()) {
    rope.turn(delta, cosines, sines);
  }
  std::vector<float> cosines, sines;
};

void check_order(const Lane& lane, Position from, int64_t delta) {
  const auto& pages = lane.pages();
  if (pages.empty()) return;
  Position staying = -1;  // the last that does not move, if any
  for (const PageRef& page : pages) {
    if (page->positions[0] >= from) break;
    const auto slots = page->positions.begin();
    staying = *std::prev(std::lower_bound(slots, slots + page->count, from));
  }
  if (staying >= 0 && staying >= from + delta) {
    fail(ErrorCode::out_of_range, "cache", "shift from ", from, " by ", delta, " passes position ", staying,
         ", which stays");
  }
  const Position last = pages.back()->positions[pages.back()->count - 1];
  if (last >= from && last + delta > std::numeric_limits<Position>::max()) {
    fail(ErrorCode::out_of_range, "cache", "shift by ", delta, " takes position ", last, " past the limit, ",
         std::numeric_limits<Position>::max());
  }
}

void move_positions(const Page& from, Page& to, int begin, int delta) noexcept {
  for (int i = begin; i < from.count; i++) to.positions[i] = from.positions[i] + delta;
}

// Everything from `held` on is held: from where on, after the shift? A gap that closes holds nothing; one
// that opens before entries which are all held does not either.
Position moved(Position held, Position from, int delta) {
  if (held > from || (held == from && delta < 0)) return std::max(0, held + delta);
  return std::max(0, std::min(held, from + std::min(delta, 0)));
}

// A shared page's turned twin: keys are read once and written turned, not copied first. As turn_keys().
bool turn_into(const PageShape& shape, const Page& from, Page& to, int begin, int delta, const Rope& rope,
               const Turn& turn) noexcept {
  copy_range(shape, from, 0, begin, to, 0);
  const bool cut = turn_keys(shape, from, to, begin, from.count, rope, turn.cosines, turn.sines);
  const size_t value = shape.value_dim * shape.element_bytes();
  std::memcpy(to.values + begin * value, from.values + begin * value, (from.count - begin) * value);
  move_positions(from, to, begin, delta);
  to.count = from.count;
  return cut;
}

}  // namespace

void Cache::shift(Position from, int delta) {
  if (from < 0)
    fail(ErrorCode::invalid_argument, "cache", "shift from position ", from, ", which is negative");
  if (delta == 0) return;
  std::vector<Move> moves;
  std::vector<size_t> layer_end(layers_);  // into moves
  size_t needed = 0;
  for (size_t i = 0; i < lanes_.size(); i++) {
    check_order(lanes_[i], from, delta);
    for (PageRef& page : lanes_[i].pages_) {
      const auto slots = page->positions.begin();
      const auto begin = std::lower_bound(slots, slots + page->count, from);
      if (begin == slots + page->count) continue;
      if (*begin + int64_t{delta} < 0) {
        fail(ErrorCode::out_of_range, "cache", "shift by ", delta, " makes position ", *begin, " negative");
      }
      moves.push_back({&page, static_cast<int>(begin - slots)});
      needed += !page.unique();
    }
    layer_end[i / kv_heads_] = moves.size();
  }
  std::vector<Turn> turns;
  turns.reserve(layers_);
  for (int layer = 0; layer < layers_; layer++) turns.emplace_back((*ropes_)[layer], delta);
  pool_->check_available(needed);
  std::vector<PageRef> fresh;
  fresh.reserve(needed);
  while (fresh.size() < needed) fresh.push_back(pool_->allocate());

  const PageShape& shape = pool_->shape();  // nothing below fails
  size_t next = 0;
  bool cut = false;
  for (int layer = 0, i = 0; layer < layers_; layer++) {
    const Rope& rope = (*ropes_)[layer];
    const Turn& turn = turns[layer];
    for (; static_cast<size_t>(i) < layer_end[layer]; i++) {
      Page& page = **moves[i].page;
      if (moves[i].page->unique()) {
        cut |= turn_keys(shape, page, page, moves[i].begin, page.count, rope, turn.cosines, turn.sines);
        move_positions(page, page, moves[i].begin, delta);
      } else {
        cut |= turn_into(shape, page, *fresh[next], moves[i].begin, delta, rope, turn);
        *moves[i].page = std::move(fresh[next++]);
      }
    }
  }
  held_from_ = moved(held_from_, from, delta);
  if (cut) pool_->warn_of_cut();
}

}  // namespace kvedit
