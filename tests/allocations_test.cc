#include "allocations.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <new>
#include <string>

namespace kvedit::allocations {
namespace {

[[maybe_unused]] void expect_allocation() {
  if (!watched.load(std::memory_order_relaxed)) return;
  if (!is_test_thread) on_workers++;
  if (until_failure >= 0 && until_failure-- == 0) throw std::bad_alloc();
}

[[maybe_unused]] void* counted(void* block) {
  if (!block) throw std::bad_alloc();
  const size_t now = live += malloc_usable_size(block);
  for (size_t before = most; before < now && !most.compare_exchange_weak(before, now);) {
  }
  return block;
}

// Inlined, it would make gcc warn that free() does not match operator new.
[[maybe_unused, gnu::noinline]] void release(void* block) {
  if (block) live -= malloc_usable_size(block);
  std::free(block);
}

}  // namespace
}  // namespace kvedit::allocations

#if KVEDIT_OWN_OPERATORS
void* operator new(size_t size) {
  kvedit::allocations::expect_allocation();
  return kvedit::allocations::counted(std::malloc(size));
}
void* operator new(size_t size, std::align_val_t align) {
  kvedit::allocations::expect_allocation();
  const auto unit = static_cast<size_t>(align);
  return kvedit::allocations::counted(std::aligned_alloc(unit, (size + unit - 1) / unit * unit));
}
void operator delete(void* block) noexcept { kvedit::allocations::release(block); }
void operator delete(void* block, size_t) noexcept { kvedit::allocations::release(block); }
void operator delete(void* block, std::align_val_t) noexcept { kvedit::allocations::release(block); }
void operator delete(void* block, size_t, std::align_val_t) noexcept { kvedit::allocations::release(block); }
#endif

namespace kvedit {
namespace {

TEST(AllocationsTest, TheOneToldToFails) {
  if (!allocations::kCounted) GTEST_SKIP() << "sanitizers count for themselves";
  const size_t before = allocations::live;
  const auto first = std::make_unique<std::string>(1000, 'x');
  EXPECT_GE(allocations::live, before + 1000);
  allocations::until_failure = 1;
  allocations::watched = true;
  std::unique_ptr<std::string> second;
  EXPECT_THROW(second = std::make_unique<std::string>(1000, 'x'), std::bad_alloc);
  allocations::watched = false;
  allocations::until_failure = -1;
}

}  // namespace
}  // namespace kvedit
