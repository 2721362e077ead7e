// append() and its undo, rollback().
#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"
#include "cache/cache.h"
#include "cache/order.h"
#include "cache/page_data.h"

namespace kvedit {
namespace {

// How many of n entries fit behind the lane's last, and how many new pages the rest takes.
struct Room {
  int in_last = 0;
  int new_pages = 0;
  bool copy_last = false;  // it is shared
};

Room room_for(const Lane& lane, int n) {
  Room room;
  if (lane.size() > 0) {
    const PageRef& last = lane.pages().back();
    room.in_last = std::min(n, kPageEntries - last->count);
    room.copy_last = room.in_last > 0 && !last.unique();
  }
  room.new_pages = (n - room.in_last + kPageEntries - 1) / kPageEntries;
  return room;
}

// Positions from `positions` on behind the page's entries, as many as fit.
size_t fill(Page& page, std::span<const Position> positions) noexcept {
  const size_t n = std::min<size_t>(positions.size(), kPageEntries - page.count);
  std::copy_n(positions.begin(), n, page.positions.begin() + page.count);
  page.count += static_cast<int>(n);
  return n;
}

// Drops `positions` from a page that the caller may write; true if something is left.
bool drop(const PageShape& shape, Page& page, std::span<const Position> positions) noexcept {
  std::array<uint8_t, kPageEntries> kept;
  int n = 0;
  for (int slot = 0; slot < page.count; slot++) {
    if (!std::binary_search(positions.begin(), positions.end(), page.positions[slot])) {
      kept[n++] = static_cast<uint8_t>(slot);
    }
  }
  copy_slots(shape, page, std::span(kept).first(n), page, 0);
  page.count = n;
  return n > 0;
}

bool any_held(const Page& page, std::span<const Position> positions) noexcept {
  const auto end = page.positions.begin() + page.count;
  return std::any_of(page.positions.begin(), end,
                     [&](Position p) { return std::binary_search(positions.begin(), positions.end(), p); });
}

}  // namespace

void Cache::append(std::span<const Position> positions) {
  check_ascending("append", positions);
  if (positions.empty()) return;
  if (positions.front() <= last_position()) {
    fail(ErrorCode::out_of_range, "cache", "append position ", positions.front(), " is not after the last, ",
         last_position());
  }
  const int n = static_cast<int>(positions.size());
  size_t needed = 0;
  std::vector<Room> rooms;  // found once: another thread's fork may let go of a page meanwhile
  rooms.reserve(lanes_.size());
  for (const Lane& lane : lanes_) {
    rooms.push_back(room_for(lane, n));
    needed += rooms.back().new_pages + rooms.back().copy_last;
  }
  pool_->check_available(needed);
  std::vector<PageRef> fresh;  // by lane: the last page's copy, then the new ones
  fresh.reserve(needed);
  for (size_t i = 0; i < lanes_.size(); i++) {
    Lane& lane = lanes_[i];
    const Room& room = rooms[i];
    if (room.copy_last) fresh.push_back(pool_->copy(*lane.pages_.back()));
    for (int page = 0; page < room.new_pages; page++) fresh.push_back(pool_->allocate());
    const size_t pages = lane.pages_.size() + room.new_pages;
    // Doubling: a lane grows page by page while decoding.
    if (pages > lane.pages_.capacity()) lane.pages_.reserve(std::max(pages, 2 * lane.pages_.size()));
  }

  auto next = fresh.begin();  // nothing below fails
  for (size_t i = 0; i < lanes_.size(); i++) {
    Lane& lane = lanes_[i];
    const Room& room = rooms[i];
    size_t done = 0;
    if (room.copy_last) lane.pages_.back() = std::move(*next++);
    if (room.in_last > 0) done = fill(*lane.pages_.back(), positions);
    while (done < positions.size()) {
      lane.pages_.push_back(std::move(*next++));
      done += fill(*lane.pages_.back(), positions.subspan(done));
    }
    lane.size_ += n;
  }
}

void Cache::rollback(std::span<const Position> positions) noexcept {
  if (positions.empty()) return;
  for (Lane& lane : lanes_) {
    const auto begin = std::partition_point(lane.pages_.begin(), lane.pages_.end(), [&](const PageRef& page) {
      return page->positions[page->count - 1] < positions.front();
    });
    auto kept = begin;
    auto page = begin;
    for (; page != lane.pages_.end() && (*page)->positions[0] <= positions.back(); ++page) {
      bool left = true;
      if (any_held(**page, positions)) {
        const int before = (*page)->count;
        try {
          if (!page->unique()) *page = pool_->copy(**page);  // only after a fork(): see the contract
          left = drop(pool_->shape(), **page, positions);
          lane.size_ -= before - (*page)->count;
        } catch (...) {
          log(kLogError, "[cache] rollback after a fork found no memory; appended entries stay");
        }
      }
      if (left) std::swap(*kept++, *page);
    }
    lane.pages_.erase(kept, page);
  }
}

}  // namespace kvedit
