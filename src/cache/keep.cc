#include <algorithm>
#include <array>
#include <utility>

#include "cache/cache.h"
#include "cache/page_data.h"
#include "tools/text.h"

namespace kvedit {
namespace {

void check_entries(std::span<const int> entries, int size) {
  for (size_t i = 0; i < entries.size(); i++) {
    if (entries[i] < 0 || entries[i] >= size) {
      fail(ErrorCode::out_of_range, "cache", "keep entry ", entries[i], " is not in the lane of ", size);
    }
    if (i > 0 && entries[i] <= entries[i - 1]) {
      fail(ErrorCode::invalid_argument, "cache", "keep entry ", entries[i],
           " does not ascend: it comes after ", entries[i - 1]);
    }
  }
}

// Which of the entries, all within the lane, page `page` of the packed lane gets.
std::span<const int> packed_page(std::span<const int> entries, size_t page) {
  const size_t begin = page * kPageEntries;
  return entries.subspan(begin, std::min<size_t>(kPageEntries, entries.size() - begin));
}

// All of page `page` stays where it is. first: its first entry's index.
bool stays(const Page& page, int first, std::span<const int> packed) {
  const int n = static_cast<int>(packed.size());
  return page.count == n && packed.front() == first && packed.back() == first + n - 1;
}

}  // namespace

// Packed page i takes its entries from pages i and later, and within page i from slots at or after
// their new ones (a page holds at most 64). So when packed page i is written, in order, what its
// place still has to give has been read, and private pages can be packed in place.
void Cache::keep(int layer, int head, std::span<const int> entries) {
  Lane& lane = checked_lane(layer, head);
  auto& pages = lane.pages_;
  check_entries(entries, lane.size_);
  const size_t packed_pages = (entries.size() + kPageEntries - 1) / kPageEntries;

  std::vector<PageRef> targets(packed_pages);  // null: stays as it is, or is packed in place
  size_t needed = 0;
  const auto replaced = [&](size_t i, int first) {
    return !pages[i].unique() && !stays(*pages[i], first, packed_page(entries, i));
  };
  int first = 0;
  for (size_t i = 0; i < packed_pages; first += pages[i++]->count) needed += replaced(i, first);
  pool_->check_available(needed);
  first = 0;
  for (size_t i = 0; i < packed_pages; first += pages[i++]->count) {
    if (replaced(i, first)) targets[i] = pool_->allocate();
  }

  first = 0;  // of page `source`; nothing below fails
  int source_count = packed_pages > 0 ? pages[0]->count : 0;
  size_t source = 0;
  for (size_t i = 0; i < packed_pages; i++) {
    const auto packed = packed_page(entries, i);
    const int n = static_cast<int>(packed.size());
    Page& to = targets[i] ? *targets[i] : *pages[i];
    for (int done = 0; done < n;) {
      while (packed[done] >= first + source_count) {
        first += source_count;
        // A page past the packed ones is read to its end here and never again: hand it back now.
        if (source >= packed_pages) pages[source] = PageRef();
        source_count = pages[++source]->count;
      }
      std::array<uint8_t, kPageEntries> slots;
      int run = 0;
      for (; done + run < n && packed[done + run] < first + source_count; run++) {
        slots[run] = static_cast<uint8_t>(packed[done + run] - first);
      }
      copy_slots(pool_->shape(), *pages[source], std::span(slots).first(run), to, done);
      done += run;
    }
  }
  for (size_t i = 0; i < packed_pages; i++) {
    if (targets[i]) pages[i] = std::move(targets[i]);
    const int n = static_cast<int>(packed_page(entries, i).size());
    if (pages[i]->count != n) pages[i]->count = n;  // a page that stays may be shared: never written
  }
  pages.resize(packed_pages);
  lane.size_ = static_cast<int>(entries.size());
}

}  // namespace kvedit
