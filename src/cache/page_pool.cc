#include "cache/page_pool.h"

#include <ggml-cpu.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include "base/log.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr size_t kSlabBytes = 4U << 20U;
constexpr int kMaxDim = 1 << 16;
constexpr size_t kCacheLine = 64;
constexpr size_t kPayloadAlignment = 2U << 20U;  // of a huge page, of which slabs are made

constexpr size_t round_up(size_t value, size_t step) { return (value + step - 1) / step * step; }

// Memory of the system's own, not the allocator's, which may keep what it is given back.
class Mapping {
 public:
  explicit Mapping(size_t bytes)
      : at_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)), bytes_(bytes) {
    if (at_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~Mapping() { munmap(at_, bytes_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  std::byte* aligned(size_t alignment) const {
    return static_cast<std::byte*>(at_) + (-reinterpret_cast<uintptr_t>(at_) % alignment);
  }

 private:
  void* at_;
  size_t bytes_;
};

}  // namespace

struct PageSlab {
  explicit PageSlab(size_t bytes) : memory(bytes) {}
  Mapping memory;
  std::byte* payload = nullptr;  // [count][stride], aligned to kPayloadAlignment
  int count = 0;
  std::unique_ptr<Page[]> pages;  // [count]
  bool huge = false;              // huge pages are asked for
  bool trimmed = false;           // no page was freed since
  uint64_t number = 0;            // slabs made before it
  size_t index = 0;               // into Storage::slabs
  int in_use = 0;                 // pages
  int warm = -1;                  // first of the free pages that are resident
  int cold = -1;                  // first of those whose memory was handed back or never touched

  void push(int& list, int page) {
    pages[page].next_free = list;
    list = page;
  }
  Page& pop(int& list) {
    Page& page = pages[list];
    list = page.next_free;
    return page;
  }
};

namespace {

using Slab = PageSlab;

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

// Hands back the whole operating-system pages inside the free pages [begin, end). A page whose
// bytes lie only partly in them stays resident.
void hand_back(Slab& slab, size_t stride, int begin, int end, bool was_huge) {
  static const size_t os_page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto base = reinterpret_cast<uintptr_t>(slab.payload);
  const uintptr_t first = round_up(base + begin * stride, os_page);
  const uintptr_t last = (base + end * stride) / os_page * os_page;
  const auto inside = [&](int i) { return base + i * stride >= first && base + (i + 1) * stride <= last; };
  if (last <= first) return;
  bool useful = was_huge;  // then pages that nobody has touched lie in a huge page with others
  for (int i = begin; i < end; i++) useful = useful || (slab.pages[i].resident && inside(i));
  if (!useful) return;
  if (begin > 0 || end < slab.count) give_up_huge_pages(slab, stride);
  if (madvise(slab.payload + (first - base), last - first, MADV_DONTNEED) != 0) return;
  for (int i = begin; i < end; i++) {
    if (inside(i)) slab.pages[i].resident = false;
  }
}

// Hands back what can be of a slab, and makes its lists of free pages anew, in order of address.
void trim_slab(Slab& slab, size_t stride) {
  const bool was_huge = slab.huge;
  for (int begin = 0; begin < slab.count;) {
    int end = begin;
    while (end < slab.count && !slab.pages[end].in_use) end++;
    if (end > begin) hand_back(slab, stride, begin, end, was_huge);
    begin = end + 1;
  }
  slab.trimmed = true;
  slab.warm = slab.cold = -1;
  for (int i = slab.count - 1; i >= 0; i--) {
    if (!slab.pages[i].in_use) slab.push(slab.pages[i].resident ? slab.warm : slab.cold, i);
  }
}

// Bytes of memory that the system holds for some of its pages.
size_t resident_in(std::span<const std::byte> bytes, std::vector<unsigned char>& seen) {
  static const size_t os_page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  seen.resize(round_up(bytes.size(), os_page) / os_page);
  if (mincore(const_cast<std::byte*>(bytes.data()), bytes.size(), seen.data()) != 0) return 0;
  return os_page * std::count_if(seen.begin(), seen.end(), [](unsigned char page) { return page & 1U; });
}

// Of a heap of slabs, the oldest on top, so that young ones may run empty.
bool younger(const Slab* a, const Slab* b) { return a->number > b->number; }

}  // namespace

struct PagePool::Storage {
  std::vector<std::unique_ptr<Slab>> slabs;
  // Those with warm and with cold pages, the latter a heap; both have room for all, so that a page is
  // released without memory. Warm pages are taken first.
  std::vector<Slab*> warm, cold;
  uint64_t slabs_made = 0;
  size_t in_use = 0;
  size_t high_water = 0;  // pages
  size_t limit_bytes = 0;

  void add_slab(PagePool& pool, const PageShape& shape, size_t stride);
  Page& take();
  void add_cold(Slab* slab) {
    cold.push_back(slab);
    std::push_heap(cold.begin(), cold.end(), younger);
  }
  void erase(Slab* slab) {
    std::swap(slabs[slab->index], slabs.back());
    slabs[slab->index]->index = slab->index;
    slabs.pop_back();
  }
};

void PagePool::Storage::add_slab(PagePool& pool, const PageShape& shape, size_t stride) {
  const size_t count = std::max<size_t>(1, kSlabBytes / stride);
  // Kernels may read a vector past the last page.
  auto slab = std::make_unique<Slab>(count * stride + kPayloadAlignment + kCacheLine);
  slab->count = static_cast<int>(count);
  slab->pages = std::make_unique<Page[]>(count);
  slab->payload = slab->memory.aligned(kPayloadAlignment);
  if (slabs.size() == slabs.capacity()) {
    const size_t room = std::max<size_t>(16, 2 * slabs.size());
    warm.reserve(room);
    cold.reserve(room);
    slabs.reserve(room);
  }
  ask_for_huge_pages(*slab, stride);
  for (int i = slab->count - 1; i >= 0; i--) {  // so that they are taken in order of address
    Page& page = slab->pages[i];
    page.keys = slab->payload + i * stride;
    page.values = page.keys + shape.key_bytes();
    page.pool = &pool;
    page.slab = slab.get();
    slab->push(slab->cold, i);
  }
  slab->number = slabs_made++;
  slab->index = slabs.size();
  add_cold(slab.get());
  slabs.push_back(std::move(slab));
}

// A free page; there is one.
Page& PagePool::Storage::take() {
  const bool is_warm = !warm.empty();
  Slab& slab = is_warm ? *warm.back() : *cold.front();
  Page& page = slab.pop(is_warm ? slab.warm : slab.cold);
  if (is_warm && slab.warm < 0) warm.pop_back();
  if (!is_warm && slab.cold < 0) {
    std::pop_heap(cold.begin(), cold.end(), younger);
    cold.pop_back();
  }
  slab.in_use++;
  return page;
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
  throw Error(ErrorCode::no_memory, "cache",
              cat(pages, pages == 1 ? " page needs " : " pages need ", pages * page_bytes(), " bytes; ",
                  storage_->in_use * page_bytes(), " are in use of the limit, ", limit),
              MemoryLimit::pool);
}

void PagePool::check_available(size_t pages) const {
  std::scoped_lock lock(mutex_);
  if (pages > 0) check_available_locked(pages);
}

PageRef PagePool::allocate() {
  std::scoped_lock lock(mutex_);
  Storage& storage = *storage_;
  check_available_locked(1);
  if (storage.warm.empty() && storage.cold.empty()) {
    try {
      storage.add_slab(*this, shape_, stride_);
    } catch (const std::bad_alloc&) {
      fail(ErrorCode::no_memory, "cache", "the system refused ", kSlabBytes, " bytes for pages");
    }
  }
  Page& page = storage.take();
  page.count = 0;
  page.in_use = page.resident = true;
  storage.high_water = std::max(storage.high_water, ++storage.in_use);
  return PageRef(&page);
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
  if (zero_freed_) {
    std::memset(page->keys, 0, shape_.key_bytes());
    std::memset(page->values, 0, shape_.value_bytes());
  }
  std::scoped_lock lock(mutex_);
  Slab& slab = *page->slab;
  page->in_use = false;
  if (slab.warm < 0) storage_->warm.push_back(&slab);
  slab.push(slab.warm, static_cast<int>(page - slab.pages.get()));
  slab.trimmed = false;
  slab.in_use--;
  storage_->in_use--;
}

void PagePool::trim() {
  std::scoped_lock lock(mutex_);
  Storage& storage = *storage_;
  const auto empty = [](const Slab* slab) { return slab->in_use == 0; };
  for (Slab* slab : storage.warm) {
    if (slab->trimmed || empty(slab)) continue;
    const bool listed = slab->cold >= 0;
    trim_slab(*slab, stride_);
    if (!listed && slab->cold >= 0) storage.add_cold(slab);
  }
  const auto begin = std::partition(storage.warm.begin(), storage.warm.end(), empty);
  if (begin != storage.warm.begin()) {
    std::erase_if(storage.cold, empty);
    std::make_heap(storage.cold.begin(), storage.cold.end(), younger);
    std::for_each(storage.warm.begin(), begin, [&](Slab* slab) { storage.erase(slab); });
    storage.warm.erase(storage.warm.begin(), begin);
  }
  std::erase_if(storage.warm, [](const Slab* slab) { return slab->warm < 0; });
}

void PagePool::warn_of_cut() {
  if (warned_of_cut_.exchange(true)) return;
  log(kLogWarning,
      "[cache] keys or values beyond 65504, the largest number of f16, are cut to it, and what the model "
      "says "
      "may change; ModelOptions::cache = f32 holds them");
}

PoolStats PagePool::stats() const {
  PoolStats stats{.page_bytes = page_bytes(), .resident_bytes = 0};
  std::vector<std::span<const std::byte>> payloads;
  {
    std::scoped_lock lock(mutex_);
    const Storage& storage = *storage_;
    stats.pages_in_use = storage.in_use;
    stats.bytes_in_use = storage.in_use * page_bytes();
    stats.high_water_bytes = storage.high_water * page_bytes();
    stats.limit_bytes = storage.limit_bytes;
    for (const auto& slab : storage.slabs) {
      payloads.emplace_back(slab->payload, slab->count * stride_);
      stats.resident_bytes += slab->count * sizeof(Page);
    }
  }
  // Asked of the system, which may hold a huge page where one of ours is in use. Others go on meanwhile; a
  // slab that they free has no memory then.
  std::vector<unsigned char> seen;
  for (const auto payload : payloads) stats.resident_bytes += resident_in(payload, seen);
  return stats;
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
