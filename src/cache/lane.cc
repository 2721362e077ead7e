#include <algorithm>

#include "cache/cache.h"
#include "cache/page_data.h"
#include "tools/text.h"

namespace kvedit {

EntryRef Lane::find(Position position) const {
  const auto page = std::partition_point(
      pages_.begin(), pages_.end(), [&](const PageRef& p) { return p->positions[p->count - 1] < position; });
  if (page == pages_.end()) return {};
  Page& held = **page;
  const auto end = held.positions.begin() + held.count;
  const auto found = std::lower_bound(held.positions.begin(), end, position);
  if (*found != position) return {};
  return {&held, static_cast<int>(found - held.positions.begin())};
}

EntryRef Lane::at(int entry) const {
  if (entry < 0) return {};
  for (const PageRef& page : pages_) {
    if (entry < page->count) return {&*page, entry};
    entry -= page->count;
  }
  return {};
}

std::vector<Position> Lane::positions() const {
  std::vector<Position> all;
  all.reserve(size_);
  for (const PageRef& page : pages_) {
    all.insert(all.end(), page->positions.begin(), page->positions.begin() + page->count);
  }
  return all;
}

void Lane::read(int begin, int end, std::span<float> keys, std::span<float> values) const {
  if (begin < 0 || end < begin || end > size_) {
    fail(ErrorCode::out_of_range, "cache", "entries ", begin, "..", end, " pass the lane's size, ", size_);
  }
  if (begin == end) return;
  const PageShape& shape = pages_.front()->pool->shape();
  const size_t n = end - begin;
  const auto check = [&](size_t given, size_t needed, const char* what) {
    if (given != 0 && given != needed) {
      fail(ErrorCode::invalid_argument, "cache", "room for ", given, " ", what, " elements, not ", needed);
    }
  };
  check(keys.size(), n * shape.key_dim, "key");
  check(values.size(), n * shape.value_dim, "value");
  int first = 0;  // of the page, in the lane
  for (const PageRef& page : pages_) {
    for (int slot = std::max(0, begin - first); slot < std::min(page->count, end - first); slot++) {
      const size_t i = first + slot - begin;
      load_entry(shape, *page, slot, keys.empty() ? nullptr : &keys[i * shape.key_dim],
                 values.empty() ? nullptr : &values[i * shape.value_dim]);
    }
    first += page->count;
  }
}

}  // namespace kvedit
