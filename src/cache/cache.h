// A KV cache as a sorted map: per (layer, KV head) a lane, an ordered list of entries
// position -> (key, value), held in pages. Lanes differ in length, since eviction is per head.
//
// Contract: a Cache is a value that only fork() copies; it is used by one thread at a time, while
// different caches over one pool may be used by different threads. Every primitive either succeeds
// or throws Error and leaves the cache as it was. Keys are stored after RoPE.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/rope.h"
#include "cache/page_pool.h"
#include "kvedit/types.h"

namespace kvedit {

/// The place of one entry.
struct EntryRef {
  Page* page = nullptr;  // null: the lane does not hold it
  int index = 0;
  explicit operator bool() const { return page != nullptr; }
};

/// The entries of one (layer, KV head), ascending by position. No page is empty.
class Lane {
 public:
  int size() const { return size_; }
  std::span<const PageRef> pages() const { return pages_; }
  EntryRef find(Position position) const;   // O(log pages)
  EntryRef at(int entry) const;             // the entry-th in order
  std::vector<Position> positions() const;  // [size]
  /// Copies entries [begin, end) as f32: keys [n][key_dim], values [n][value_dim]; either may be empty.
  void read(int begin, int end, std::span<float> keys, std::span<float> values) const;

 private:
  friend class Cache;
  friend class LaneLoader;  // snapshot_cache.cc
  std::vector<PageRef> pages_;
  int size_ = 0;
};

class Cache {
 public:
  /// ropes: one a layer, used by shift() to turn keys; shared with the model.
  Cache(std::shared_ptr<PagePool> pool, int layers, int kv_heads,
        std::shared_ptr<const std::vector<Rope>> ropes);
  Cache(Cache&&) noexcept = default;
  Cache& operator=(Cache&& other) noexcept;

  int layers() const { return layers_; }
  int kv_heads() const { return kv_heads_; }
  const std::shared_ptr<PagePool>& pool() const { return pool_; }
  const std::shared_ptr<const std::vector<Rope>>& ropes() const { return ropes_; }
  const Lane& lane(int layer, int head) const { return lanes_[layer * kv_heads_ + head]; }

  /// Copies in O(pages): pages are shared until either side writes.
  Cache fork() const;

  /// Adds entries at `positions` (ascending, all after the last of every lane) to every lane.
  /// Their keys and values are undefined until write() or a forward pass fills them.
  void append(std::span<const Position> positions);
  /// Adds entries at positions anywhere, none of which any lane holds (an overlay in the middle).
  void insert(std::span<const Position> positions);
  /// Makes the pages that hold `positions` private, so that write() may replace entries; never inserts.
  void overwrite(std::span<const Position> positions);
  /// Drops the entries with span.begin <= position < span.end from all lanes.
  void remove(Span positions);
  /// Adds delta to all positions >= from and turns their keys. Throws if order would break:
  /// an entry that stays at or after from + delta, or a negative position. (One that free_before() has freed
  /// does not stay.)
  void shift(Position from, int delta);
  /// Keeps exactly these entries (indices into the lane, strictly ascending), packs the lane and
  /// frees the rest. Private pages are packed in place, so nothing can fail after the checks; a page
  /// shared with a fork is replaced by a new one, unless all of it stays where it is.
  void keep(int layer, int head, std::span<const int> entries);
  /// Frees the first pages of a layer's lanes, as far as all their positions are before `before`. Never
  /// fails.
  void free_before(int layer, Position before) noexcept;
  /// The position before which free_before() has freed entries, 0 if it never did. It moves with the entries
  /// around it.
  Position held_from() const { return held_from_; }

  /// Stores f32 keys [n][key_dim] and values [n][value_dim] at positions this lane holds in private
  /// pages (append, insert or overwrite came before); positions it does not hold are skipped.
  void write(int layer, int head, std::span<const Position> positions, std::span<const float> keys,
             std::span<const float> values);

  /// Undoes the append or insert of exactly these positions, with no fork() in between (it would
  /// share the pages, and dropping part of a shared page needs memory); never fails.
  void rollback(std::span<const Position> positions) noexcept;

  size_t entries() const;          // over all lanes
  size_t pages() const;            // over all lanes, shared ones counted once a lane
  size_t bytes() const;            // pages() * page bytes
  size_t shared_bytes() const;     // the part that another cache refers to as well (pinned by a fork or undo)
  Position last_position() const;  // over all lanes; -1 when empty

 private:
  friend class LaneLoader;  // snapshot_cache.cc
  Lane& checked_lane(int layer, int head);

  std::shared_ptr<PagePool> pool_;  // first, so that it outlives the pages of lanes_
  int layers_ = 0;
  int kv_heads_ = 0;
  std::shared_ptr<const std::vector<Rope>> ropes_;
  std::vector<Lane> lanes_;  // [layer][kv_head]
  Position held_from_ = 0;
};

}  // namespace kvedit
