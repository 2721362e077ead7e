#include "cache/cache.h"

#include <algorithm>
#include <utility>

#include "cache/order.h"
#include "cache/page_data.h"
#include "tools/text.h"

namespace kvedit {

Cache::Cache(std::shared_ptr<PagePool> pool, int layers, int kv_heads,
             std::shared_ptr<const std::vector<Rope>> ropes)
    : pool_(std::move(pool)), layers_(layers), kv_heads_(kv_heads), ropes_(std::move(ropes)) {
  if (!pool_) fail(ErrorCode::invalid_argument, "cache", "no page pool");
  if (layers < 1 || kv_heads < 1 || int64_t{layers} * kv_heads > (1 << 24)) {
    fail(ErrorCode::invalid_argument, "cache", layers, " layers of ", kv_heads, " KV heads");
  }
  if (!ropes_ || ropes_->size() != static_cast<size_t>(layers)) {
    fail(ErrorCode::invalid_argument, "cache", ropes_ ? ropes_->size() : 0, " ropes for ", layers, " layers");
  }
  for (const Rope& rope : *ropes_) {
    if (rope.dims() > pool_->shape().key_dim) {
      fail(ErrorCode::invalid_argument, "cache", "a rope over ", rope.dims(),
           " dimensions passes the key's, ", pool_->shape().key_dim);
    }
  }
  lanes_.resize(static_cast<size_t>(layers) * kv_heads);
}

Cache& Cache::operator=(Cache&& other) noexcept {
  lanes_ = std::move(other.lanes_);  // before the pool that the old pages go back to
  pool_ = std::move(other.pool_);
  ropes_ = std::move(other.ropes_);
  layers_ = other.layers_;
  kv_heads_ = other.kv_heads_;
  held_from_ = other.held_from_;
  return *this;
}

Cache Cache::fork() const {
  Cache twin(pool_, layers_, kv_heads_, ropes_);
  twin.lanes_ = lanes_;
  twin.held_from_ = held_from_;
  return twin;
}

void Cache::overwrite(std::span<const Position> positions) {
  check_ascending("overwrite", positions);
  std::vector<PageRef*> shared;  // [pages to make private]
  for (Lane& lane : lanes_) {
    auto next = positions.begin();
    for (PageRef& page : lane.pages_) {
      const auto begin = page->positions.begin();
      const auto end = begin + page->count;
      next = std::lower_bound(next, positions.end(), *begin);
      bool held = false;
      for (; next != positions.end() && *next <= end[-1]; ++next) {
        held = held || std::binary_search(begin, end, *next);
      }
      if (held && !page.unique()) shared.push_back(&page);
    }
  }
  pool_->check_available(shared.size());
  std::vector<PageRef> copies;
  copies.reserve(shared.size());
  for (const PageRef* page : shared) copies.push_back(pool_->copy(**page));
  for (size_t i = 0; i < shared.size(); i++) *shared[i] = std::move(copies[i]);
}

void Cache::write(int layer, int head, std::span<const Position> positions, std::span<const float> keys,
                  std::span<const float> values) {
  const PageShape& shape = pool_->shape();
  const Lane& lane = checked_lane(layer, head);
  const auto check = [&](size_t given, int dim, const char* what) {
    if (given != positions.size() * dim) {
      fail(ErrorCode::invalid_argument, "cache", given, " ", what, " elements for ", positions.size(),
           " positions of ", dim);
    }
  };
  check(keys.size(), shape.key_dim, "key");
  check(values.size(), shape.value_dim, "value");
  for (Position position : positions) {
    const EntryRef entry = lane.find(position);
    if (entry && entry.page->references.load(std::memory_order_acquire) != 1) {
      fail(ErrorCode::invalid_argument, "cache", "position ", position, " of layer ", layer, ", head ", head,
           " lies in a page that another cache shares; overwrite() makes it private");
    }
  }
  bool cut = false;
  for (size_t i = 0; i < positions.size(); i++) {
    const EntryRef entry = lane.find(positions[i]);
    if (!entry) continue;
    cut |=
        store_entry(shape, *entry.page, entry.index, &keys[i * shape.key_dim], &values[i * shape.value_dim]);
  }
  if (cut) pool_->warn_of_cut();
}

Lane& Cache::checked_lane(int layer, int head) {
  if (layer < 0 || layer >= layers_ || head < 0 || head >= kv_heads_) {
    fail(ErrorCode::out_of_range, "cache", "layer ", layer, ", head ", head, " of a cache of ", layers_,
         " layers and ", kv_heads_, " KV heads");
  }
  return lanes_[layer * kv_heads_ + head];
}

size_t Cache::entries() const {
  size_t sum = 0;
  for (const Lane& lane : lanes_) sum += lane.size_;
  return sum;
}

size_t Cache::pages() const {
  size_t sum = 0;
  for (const Lane& lane : lanes_) sum += lane.pages_.size();
  return sum;
}

size_t Cache::bytes() const { return pages() * pool_->page_bytes(); }

size_t Cache::shared_bytes() const {
  size_t shared = 0;
  for (const Lane& lane : lanes_) {
    for (const PageRef& page : lane.pages_) shared += !page.unique();
  }
  return shared * pool_->page_bytes();
}

Position Cache::last_position() const {
  Position last = -1;
  for (const Lane& lane : lanes_) {
    if (lane.pages_.empty()) continue;
    const Page& page = *lane.pages_.back();
    last = std::max(last, page.positions[page.count - 1]);
  }
  return last;
}

}  // namespace kvedit
