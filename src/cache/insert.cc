// insert(): an overlay between entries that exist.
#include <algorithm>
#include <utility>

#include "cache/cache.h"
#include "cache/order.h"
#include "cache/page_data.h"

namespace kvedit {
namespace {

using Positions = std::span<const Position>;

// Pages that come to stand at index `at` of the lane, in place of the page there if `replace`.
struct Splice {
  size_t at = 0;
  bool replace = false;
  std::vector<PageRef> pages;
};

// Positions that go behind the last entry of a private page.
struct Tail {
  Page* page = nullptr;
  Positions positions;
};

struct InsertPlan {
  std::vector<Splice> splices;  // ascending
  std::vector<Tail> tails;
  std::vector<PageRef> pages;  // empty, with room for the lane's pages afterwards
};

// Fills new pages one behind the other.
class PageFiller {
 public:
  explicit PageFiller(PagePool& pool) : pool_(pool) {}
  void add(Position position) { page().positions[page_count()++] = position; }
  void add(const Page& from, int first, int n) {
    while (n > 0) {
      Page& to = page();
      const int fits = std::min(n, kPageEntries - to.count);
      copy_range(pool_.shape(), from, first, fits, to, to.count);
      to.count += fits;
      first += fits;
      n -= fits;
    }
  }
  std::vector<PageRef> take() { return std::move(pages_); }

 private:
  Page& page() {
    if (pages_.empty() || pages_.back()->count == kPageEntries) pages_.push_back(pool_.allocate());
    return *pages_.back();
  }
  int& page_count() { return pages_.back()->count; }

  PagePool& pool_;
  std::vector<PageRef> pages_;
};

std::vector<PageRef> new_pages(PagePool& pool, Positions positions) {
  PageFiller filler(pool);
  for (Position position : positions) filler.add(position);
  return filler.take();
}

// The page's entries and `positions`, some of which fall between them, in order.
std::vector<PageRef> merged_pages(PagePool& pool, const Page& page, Positions positions) {
  PageFiller filler(pool);
  int slot = 0;
  for (Position position : positions) {
    const auto begin = page.positions.begin();
    const auto next = std::lower_bound(begin + slot, begin + page.count, position);
    const int border = static_cast<int>(next - begin);
    if (border < page.count && *next == position) {
      fail(ErrorCode::out_of_range, "cache", "insert position ", position, " exists already");
    }
    filler.add(page, slot, border - slot);
    filler.add(position);
    slot = border;
  }
  filler.add(page, slot, page.count - slot);
  return filler.take();
}

// What `positions`, all at or after the first entry of page `at` and before the next page's, do to it.
void plan_page(PagePool& pool, const PageRef& page, size_t at, Positions positions, InsertPlan& plan) {
  if (positions.front() <= page->positions[page->count - 1]) {
    plan.splices.push_back({at, true, merged_pages(pool, *page, positions)});
    return;
  }
  const size_t room = page.unique() ? kPageEntries - page->count : 0;
  const size_t here = std::min(room, positions.size());
  if (here > 0) plan.tails.push_back({&*page, positions.first(here)});
  if (here < positions.size()) {
    plan.splices.push_back({at + 1, false, new_pages(pool, positions.subspan(here))});
  }
}

InsertPlan plan_lane(PagePool& pool, std::span<const PageRef> pages, Positions positions) {
  InsertPlan plan;
  while (!positions.empty()) {
    const auto after = std::partition_point(pages.begin(), pages.end(), [&](const PageRef& page) {
      return page->positions[0] <= positions.front();
    });
    size_t n = positions.size();  // those before the next page
    if (after != pages.end()) {
      const auto end = std::lower_bound(positions.begin(), positions.end(), (*after)->positions[0]);
      n = end - positions.begin();
    }
    const size_t at = after - pages.begin();
    if (at == 0) {
      plan.splices.push_back({0, false, new_pages(pool, positions.first(n))});
    } else {
      plan_page(pool, pages[at - 1], at - 1, positions.first(n), plan);
    }
    positions = positions.subspan(n);
  }
  size_t total = pages.size();
  for (const Splice& splice : plan.splices) total += splice.pages.size();
  plan.pages.reserve(total);
  return plan;
}

void commit(InsertPlan& plan, std::vector<PageRef>& pages) noexcept {
  for (const Tail& tail : plan.tails) {
    std::copy(tail.positions.begin(), tail.positions.end(), tail.page->positions.begin() + tail.page->count);
    tail.page->count += static_cast<int>(tail.positions.size());
  }
  if (plan.splices.empty()) return;
  size_t next = 0;
  for (Splice& splice : plan.splices) {
    while (next < splice.at) plan.pages.push_back(std::move(pages[next++]));
    for (PageRef& page : splice.pages) plan.pages.push_back(std::move(page));
    next += splice.replace;
  }
  while (next < pages.size()) plan.pages.push_back(std::move(pages[next++]));
  pages.swap(plan.pages);
}

}  // namespace

void Cache::insert(Positions positions) {
  check_ascending("insert", positions);
  if (positions.empty()) return;
  std::vector<InsertPlan> plans;
  plans.reserve(lanes_.size());
  for (const Lane& lane : lanes_) plans.push_back(plan_lane(*pool_, lane.pages_, positions));
  for (size_t i = 0; i < lanes_.size(); i++) {
    commit(plans[i], lanes_[i].pages_);
    lanes_[i].size_ += static_cast<int>(positions.size());
  }
}

}  // namespace kvedit
