#include <algorithm>
#include <utility>

#include "cache/cache.h"
#include "cache/page_data.h"
#include "tools/text.h"

namespace kvedit {
namespace {

// A page that loses slots [begin, end) and keeps others.
struct Border {
  PageRef* page = nullptr;
  int begin = 0;
  int end = 0;
  bool shared = false;

  int left() const { return (*page)->count - (end - begin); }
};

struct RemovePlan {
  size_t first_dropped = 0;  // pages wholly inside the span: one stretch
  size_t dropped_pages = 0;
  int dropped_entries = 0;
};

RemovePlan plan_lane(std::span<PageRef> pages, Span span, std::vector<Border>& borders) {
  RemovePlan plan;
  const auto first = std::partition_point(pages.begin(), pages.end(), [&](const PageRef& page) {
    return page->positions[page->count - 1] < span.begin;
  });
  for (auto page = first; page != pages.end() && (*page)->positions[0] < span.end; ++page) {
    const auto slots = (*page)->positions.begin();
    const int count = (*page)->count;
    const int begin = static_cast<int>(std::lower_bound(slots, slots + count, span.begin) - slots);
    const int end = static_cast<int>(std::lower_bound(slots, slots + count, span.end) - slots);
    plan.dropped_entries += end - begin;
    if (end - begin == count) {
      if (plan.dropped_pages++ == 0) plan.first_dropped = page - pages.begin();
    } else if (end > begin) {
      borders.push_back({&*page, begin, end, !page->unique()});
    }
  }
  return plan;
}

}  // namespace

void Cache::remove(Span positions) {
  if (positions.begin < 0 || positions.end < positions.begin) {
    fail(ErrorCode::invalid_argument, "cache", "remove span ", positions.begin, "..", positions.end,
         " is negative or backwards");
  }
  const PageShape& shape = pool_->shape();
  std::vector<RemovePlan> plans;
  std::vector<Border> borders;
  plans.reserve(lanes_.size());
  for (Lane& lane : lanes_) plans.push_back(plan_lane(lane.pages_, positions, borders));
  const size_t needed =
      std::count_if(borders.begin(), borders.end(), [](const Border& b) { return b.shared; });
  pool_->check_available(needed);
  std::vector<PageRef> fresh;
  fresh.reserve(needed);
  for (size_t i = 0; i < needed; i++) fresh.push_back(pool_->allocate());

  auto next = fresh.begin();  // nothing below fails
  for (const Border& border : borders) {
    const Page& from = **border.page;
    const int left = border.left();
    Page& to = border.shared ? **next : **border.page;
    copy_range(shape, from, 0, border.begin, to, 0);
    copy_range(shape, from, border.end, from.count - border.end, to, border.begin);
    to.count = left;
    if (border.shared) *border.page = std::move(*next++);
  }
  for (size_t i = 0; i < lanes_.size(); i++) {
    auto& pages = lanes_[i].pages_;
    const auto first = pages.begin() + plans[i].first_dropped;
    pages.erase(first, first + plans[i].dropped_pages);
    lanes_[i].size_ -= plans[i].dropped_entries;
  }
  if (entries() == 0) held_from_ = 0;
}

void Cache::free_before(int layer, Position before) noexcept {
  for (int head = 0; head < kv_heads_; head++) {
    Lane& lane = lanes_[layer * kv_heads_ + head];
    auto end = lane.pages_.begin();
    for (; end != lane.pages_.end(); ++end) {
      const Position last = (*end)->positions[(*end)->count - 1];
      if (last >= before) break;
      lane.size_ -= (*end)->count;
      held_from_ = std::max(held_from_, last + 1);
    }
    lane.pages_.erase(lane.pages_.begin(), end);
  }
}

}  // namespace kvedit
