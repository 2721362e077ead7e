// Memory of all caches of one model: pages of 64 entries of one head, reference-counted.
//
// A page's keys stand dimension-major, [head_dim][64], so that the scores of 64 keys come out as
// vectors; its values entry-major, [64][head_dim]. Elements are f16, or f32 for exactness tests.
// A page that nobody refers to is free: any lane of any session may take it, and trim() hands
// its memory back to the operating system. All members are thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

inline constexpr int kPageEntries = 64;

using ElementType = CacheType;

struct PageShape {
  int key_dim = 0;    // dimensions of a key of one head
  int value_dim = 0;  // dimensions of a value of one head
  ElementType type = ElementType::f16;

  size_t element_bytes() const { return type == ElementType::f16 ? 2 : 4; }
  size_t key_bytes() const { return kPageEntries * key_dim * element_bytes(); }
  size_t value_bytes() const { return kPageEntries * value_dim * element_bytes(); }
  bool operator==(const PageShape&) const = default;
};

class PagePool;
struct PageSlab;  // page_pool.cc

/// A page in use. Only a page with one reference may be written.
struct Page {
  std::atomic<int> references{0};
  int count = 0;                                 // entries filled
  std::array<Position, kPageEntries> positions;  // [count], ascending
  std::byte* keys = nullptr;                     // [key_dim][64]
  std::byte* values = nullptr;                   // [64][value_dim]
  PagePool* pool = nullptr;

  // The pool's own, under its mutex.
  PageSlab* slab = nullptr;
  int next_free = -1;  // in its slab
  bool in_use = false;
  bool resident = false;  // in use, or free and not yet handed back
};

/// Shared ownership of a page; copying shares, PagePool::copy duplicates.
class PageRef {
 public:
  PageRef() = default;
  explicit PageRef(Page* page);  // takes a new reference
  PageRef(const PageRef& other);
  PageRef(PageRef&& other) noexcept;
  PageRef& operator=(PageRef other) noexcept;
  ~PageRef();

  Page* operator->() const { return page_; }
  Page& operator*() const { return *page_; }
  explicit operator bool() const { return page_ != nullptr; }
  bool unique() const;

 private:
  Page* page_ = nullptr;
};

class PagePool : public std::enable_shared_from_this<PagePool> {
 public:
  /// limit_bytes 0 means no limit.
  static std::shared_ptr<PagePool> create(const PageShape& shape, size_t limit_bytes = 0);
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;
  ~PagePool();

  const PageShape& shape() const { return shape_; }
  size_t page_bytes() const { return stride_ + sizeof(Page); }  // as in PoolStats

  /// Takes an empty page. Throws Error(no_memory) naming the limit; nothing changes then.
  PageRef allocate();
  /// Duplicates a page; the copy has one reference.
  PageRef copy(const Page& page);
  /// Throws Error(no_memory) if `pages` more pages could not be had.
  void check_available(size_t pages) const;
  /// Hands the memory of free pages back to the operating system. It looks at the slabs, of 4 MB, in which
  /// pages were freed since, and at no others.
  void trim();
  /// Warns, once a pool, that a number was cut to the largest of f16.
  void warn_of_cut();

  PoolStats stats() const;
  void reset_high_water();
  void set_limit(size_t limit_bytes);
  /// Overwrites the payload of pages with zeros when they are freed, from now on.
  void zero_freed() { zero_freed_ = true; }

 private:
  friend class PageRef;
  PagePool(const PageShape& shape, size_t limit_bytes);
  void release(Page* page) noexcept;
  void check_available_locked(size_t pages) const;
  // Slabs, the free list and the accounting: see page_pool.cc.
  struct Storage;
  PageShape shape_;
  size_t stride_ = 0;  // bytes from one page's payload to the next
  std::atomic<bool> warned_of_cut_{false};
  std::atomic<bool> zero_freed_{false};
  mutable std::mutex mutex_;
  std::unique_ptr<Storage> storage_;
};

}  // namespace kvedit
