#include "cache/page_pool.h"

#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml-cpu.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace kvedit {
namespace {

constexpr size_t kSlabBytes = 4U << 20U;
constexpr int kMaxDim = 1 << 16;
constexpr size_t kCacheLine = 64;
constexpr size_t kPayloadAlignment = 2U << 20U;  // of a huge page, of which slabs are made

constexpr size_t round_up(size_t value, size_t step) { return (value + step - 1) / step * step; }

struct Slab {
  ggml_backend_buffer_ptr buffer;
  std::byte* payload = nullptr;  // [count][stride], aligned to kPayloadAlignment
  int count = 0;
  std::unique_ptr<Page[]> pages;  // [count]
  bool huge = false;              // huge pages are asked for

  bool wholly_free() const {
    return std::none_of(pages.get(), pages.get() + count, [](const Page& page) { return page.in_use; });
  }
};

// Attention reads the whole cache for each token, and with small pages half of that time goes into
// walking page tables (44 against 79 GB/s on two cores of a virtual machine).
void ask_for_huge_pages(Slab& slab, size_t stride) {
  slab.huge = madvise(slab.payload, slab.count * stride, MADV_HUGEPAGE) == 0;
}

// Before a part of a slab is handed back: the system must not make it whole again.
void give_up_huge_pages(Slab& slab, size_t stride) {
  if (slab.huge) madvise(slab.payload, slab.count * stride, MADV_NOHUGEPAGE);
  slab.huge = false;
}

void push(Page*& list, Page& page) {
  page.next_free = list;
  list = &page;
}

Page* pop(Page*& list) {
  Page* page = list;
  list = page->next_free;
  page->next_free = nullptr;
  return page;
}

// Hands back the whole operating-system pages inside the free pages [begin, end). A page whose
// bytes lie only partly in them stays counted as resident.
void hand_back(Slab& slab, size_t stride, int begin, int end) {
  static const size_t os_page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto base = reinterpret_cast<uintptr_t>(slab.payload);
  const uintptr_t first = round_up(base + begin * stride, os_page);
  const uintptr_t last = (base + end * stride) / os_page * os_page;
  const auto inside = [&](int i) { return base + i * stride >= first && base + (i + 1) * stride <= last; };
  bool useful = false;
  for (int i = begin; i < end; i++) useful = useful || (slab.pages[i].resident && inside(i));
  if (!useful) return;
  if (begin > 0 || end < slab.count) give_up_huge_pages(slab, stride);
  if (madvise(slab.payload + (first - base), last - first, MADV_DONTNEED) != 0) return;
  for (int i = begin; i < end; i++) {
    if (inside(i)) slab.pages[i].resident = false;
  }
}

}  // namespace

struct PagePool::Storage {
  std::vector<std::unique_ptr<Slab>> slabs;
  Page* warm = nullptr;  // free and resident: taken first
  Page* cold = nullptr;  // free, its memory handed back or never touched
  size_t warm_pages = 0;
  size_t in_use = 0;
  size_t high_water = 0;  // pages
  size_t limit_bytes = 0;

  void add_slab(PagePool& pool, const PageShape& shape, size_t stride);
  void relist();
};

void PagePool::Storage::add_slab(PagePool& pool, const PageShape& shape, size_t stride) {
  auto slab = std::make_unique<Slab>();
  slab->count = static_cast<int>(std::max<size_t>(1, kSlabBytes / stride));
  // Kernels may read a vector past the last page.
  const size_t bytes = slab->count * stride + kPayloadAlignment + kCacheLine;
  slab->pages = std::make_unique<Page[]>(slab->count);
  slab->buffer.reset(ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), bytes));
  if (!slab->buffer) fail(ErrorCode::no_memory, "cache", "the system refused ", bytes, " bytes for pages");
  auto* base = static_cast<std::byte*>(ggml_backend_buffer_get_base(slab->buffer.get()));
  const auto address = reinterpret_cast<uintptr_t>(base);
  slab->payload = base + (round_up(address, kPayloadAlignment) - address);
  ask_for_huge_pages(*slab, stride);
  slabs.push_back(std::move(slab));
  for (int i = slabs.back()->count - 1; i >= 0; i--) {  // so that they are taken in order of address
    Page& page = slabs.back()->pages[i];
    page.keys = slabs.back()->payload + i * stride;
    page.values = page.keys + shape.key_bytes();
    page.pool = &pool;
    push(cold, page);
  }
}

// Makes the free lists anew after slabs went or pages changed their state.
void PagePool::Storage::relist() {
  warm = cold = nullptr;
  warm_pages = 0;
  for (size_t s = slabs.size(); s-- > 0;) {
    for (int i = slabs[s]->count - 1; i >= 0; i--) {
      Page& page = slabs[s]->pages[i];
      if (page.in_use) continue;
      push(page.resident ? warm : cold, page);
      warm_pages += page.resident;
    }
  }
}

std::shared_ptr<PagePool> PagePool::create(const PageShape& shape, size_t limit_bytes) {
  for (int dim : {shape.key_dim, shape.value_dim}) {
    if (dim < 1 || dim > kMaxDim) {
      fail(ErrorCode::invalid_argument, "cache", "head dimension ", dim, " is outside 1..", kMaxDim);
    }
  }
  ggml_cpu_init();  // tables of the f16 conversions
  return std::shared_ptr<PagePool>(new PagePool(shape, limit_bytes));
}

PagePool::PagePool(const PageShape& shape, size_t limit_bytes)
    : shape_(shape),
      stride_(round_up(shape.key_bytes() + shape.value_bytes(), kCacheLine)),
      storage_(std::make_unique<Storage>()) {
  storage_->limit_bytes = limit_bytes;
}

PagePool::~PagePool() = default;

void PagePool::check_available_locked(size_t pages) const {
  const size_t limit = storage_->limit_bytes;
  if (limit == 0) return;
  const size_t most = limit / page_bytes();
  if (storage_->in_use <= most && pages <= most - storage_->in_use) return;
  fail(ErrorCode::no_memory, "cache", pages, pages == 1 ? " page needs " : " pages need ",
       pages * page_bytes(), " bytes; ", storage_->in_use * page_bytes(), " are in use of the limit, ",
       limit);
}

void PagePool::check_available(size_t pages) const {
  std::scoped_lock lock(mutex_);
  if (pages > 0) check_available_locked(pages);
}

PageRef PagePool::allocate() {
  std::scoped_lock lock(mutex_);
  Storage& storage = *storage_;
  check_available_locked(1);
  if (!storage.warm && !storage.cold) storage.add_slab(*this, shape_, stride_);
  if (storage.warm) storage.warm_pages--;
  Page* page = pop(storage.warm ? storage.warm : storage.cold);
  page->count = 0;
  page->in_use = page->resident = true;
  storage.high_water = std::max(storage.high_water, ++storage.in_use);
  return PageRef(page);
}

PageRef PagePool::copy(const Page& page) {
  PageRef twin = allocate();
  twin->count = page.count;
  std::copy_n(page.positions.begin(), page.count, twin->positions.begin());
  std::memcpy(twin->keys, page.keys, shape_.key_bytes());
  std::memcpy(twin->values, page.values, shape_.value_bytes() / kPageEntries * page.count);
  return twin;
}

void PagePool::release(Page* page) noexcept {
  std::scoped_lock lock(mutex_);
  page->in_use = false;
  push(storage_->warm, *page);
  storage_->warm_pages++;
  storage_->in_use--;
}

void PagePool::trim() {
  std::scoped_lock lock(mutex_);
  for (auto& slab : storage_->slabs) {
    for (int begin = 0; begin < slab->count;) {
      int end = begin;
      while (end < slab->count && !slab->pages[end].in_use) end++;
      // Wholly free slabs too: the allocator behind ggml may keep what it is given back.
      if (end > begin) hand_back(*slab, stride_, begin, end);
      begin = end + 1;
    }
  }
  std::erase_if(storage_->slabs, [](const auto& slab) { return slab->wholly_free(); });
  storage_->relist();
}

PoolStats PagePool::stats() const {
  std::scoped_lock lock(mutex_);
  return {.page_bytes = page_bytes(),
          .pages_in_use = storage_->in_use,
          .bytes_in_use = storage_->in_use * page_bytes(),
          .high_water_bytes = storage_->high_water * page_bytes(),
          .resident_bytes = (storage_->in_use + storage_->warm_pages) * page_bytes(),
          .limit_bytes = storage_->limit_bytes};
}

void PagePool::reset_high_water() {
  std::scoped_lock lock(mutex_);
  storage_->high_water = storage_->in_use;
}

void PagePool::set_limit(size_t limit_bytes) {
  std::scoped_lock lock(mutex_);
  storage_->limit_bytes = limit_bytes;
}

PageRef::PageRef(Page* page) : page_(page) {
  if (page_) page_->references.fetch_add(1, std::memory_order_relaxed);
}

PageRef::PageRef(const PageRef& other) : PageRef(other.page_) {}

PageRef::PageRef(PageRef&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}

PageRef& PageRef::operator=(PageRef other) noexcept {
  std::swap(page_, other.page_);
  return *this;
}

PageRef::~PageRef() {
  // Release: our reads and writes come before the next owner's; acquire: the others' before ours.
  if (page_ && page_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) page_->pool->release(page_);
}

bool PageRef::unique() const { return page_ && page_->references.load(std::memory_order_acquire) == 1; }

}  // namespace kvedit
