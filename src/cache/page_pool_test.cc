#include "cache/page_pool.h"

#include <cstring>
#include <thread>

#include "cache/cache_testing.h"
#include "tools/resident.h"

namespace kvedit {
namespace {

constexpr PageShape kSmall{.key_dim = 16, .value_dim = 32, .type = ElementType::f16};

std::vector<PageRef> take(PagePool& pool, int n) {
  std::vector<PageRef> pages;
  for (int i = 0; i < n; i++) {
    pages.push_back(pool.allocate());
    std::memset(pages.back()->keys, i, pool.shape().key_bytes());
    std::memset(pages.back()->values, i, pool.shape().value_bytes());
  }
  return pages;
}

TEST(PagePoolTest, FreedPagesAreZeroedIfAsked) {
  for (const bool zero : {false, true}) {
    const auto pool = PagePool::create(kShape);
    if (zero) pool->zero_freed();
    const std::byte* payload = nullptr;
    {
      const PageRef page = pool->allocate();
      std::memset(page->keys, 7, kShape.key_bytes());
      std::memset(page->values, 7, kShape.value_bytes());
      payload = page->keys;
      const PageRef other = page;
    }
    const PageRef again = pool->allocate();  // the same one: it is warm
    ASSERT_EQ(again->keys, payload);
    EXPECT_EQ(again->keys[5], static_cast<std::byte>(zero ? 0 : 7));
    EXPECT_EQ(again->values[kShape.value_bytes() - 1], static_cast<std::byte>(zero ? 0 : 7));
  }
}

TEST(PagePoolTest, CountsPagesExactly) {
  auto pool = PagePool::create(kSmall);
  const size_t page = pool->page_bytes();
  EXPECT_EQ(page, 64 * (16 + 32) * 2 + sizeof(Page));
  auto pages = take(*pool, 100);
  EXPECT_EQ(pool->stats().pages_in_use, 100U);
  EXPECT_EQ(pool->stats().bytes_in_use, 100 * page);
  pages.resize(30);
  EXPECT_EQ(pool->stats().pages_in_use, 30U);
  EXPECT_EQ(pool->stats().high_water_bytes, 100 * page);
  pool->reset_high_water();
  EXPECT_EQ(pool->stats().high_water_bytes, 30 * page);
}

TEST(PagePoolTest, KeysAndValuesDoNotOverlapOtherPages) {
  auto pool = PagePool::create({.key_dim = 3, .value_dim = 5, .type = ElementType::f32});
  const auto pages = take(*pool, 150);
  for (int i = 0; i < 150; i++) {
    for (size_t b = 0; b < pool->shape().key_bytes(); b++) ASSERT_EQ(pages[i]->keys[b], std::byte(i));
    for (size_t b = 0; b < pool->shape().value_bytes(); b++) ASSERT_EQ(pages[i]->values[b], std::byte(i));
  }
}

TEST(PagePoolTest, ThePageThatPassesTheLimitIsRefused) {
  auto pool = PagePool::create(kSmall);
  pool->set_limit(5 * pool->page_bytes() + 1);
  auto pages = take(*pool, 5);
  const auto [code, message] = error_of([&] { pool->allocate(); });
  EXPECT_EQ(code, ErrorCode::no_memory);
  EXPECT_NE(message.find(std::to_string(pool->page_bytes())), std::string::npos) << message;
  EXPECT_NE(message.find(std::to_string(pool->stats().limit_bytes)), std::string::npos) << message;
  EXPECT_EQ(pool->stats().pages_in_use, 5U);
  pages.pop_back();
  pool->check_available(1);
  EXPECT_EQ(error_of([&] { pool->check_available(2); }).first, ErrorCode::no_memory);
  EXPECT_EQ(error_of([&] { pool->check_available(SIZE_MAX); }).first, ErrorCode::no_memory);
  pool->allocate();
}

TEST(PagePoolTest, LimitsBelowWhatIsInUseOnlyStopGrowth) {
  auto pool = PagePool::create(kSmall);
  auto pages = take(*pool, 5);
  pool->set_limit(1);
  EXPECT_EQ(error_of([&] { pool->allocate(); }).first, ErrorCode::no_memory);
  pool->check_available(0);
  pool->set_limit(0);
  pool->allocate();
}

TEST(PagePoolTest, RefusesDimensionsOutsideItsRange) {
  for (int dim : {0, -1, 1 << 30}) {
    EXPECT_EQ(error_of([&] { PagePool::create({.key_dim = dim, .value_dim = 1}); }).first,
              ErrorCode::invalid_argument);
  }
}

TEST(PagePoolTest, PagesAreReusedWarmFirst) {
  auto pool = PagePool::create(kSmall);
  auto pages = take(*pool, 3);
  const std::byte* keys = pages.back()->keys;
  pages.pop_back();
  EXPECT_EQ(pool->allocate()->keys, keys);
}

TEST(PagePoolTest, CopiesAreIndependent) {
  auto pool = PagePool::create(kSmall);
  PageRef page = take(*pool, 1)[0];
  page->count = 2;
  page->positions[0] = 4;
  page->positions[1] = 9;
  const PageRef twin = pool->copy(*page);
  std::memset(page->keys, 7, kSmall.key_bytes());
  EXPECT_EQ(twin->count, 2);
  EXPECT_EQ(twin->positions[1], 9);
  EXPECT_EQ(twin->keys[5], std::byte(0));
  EXPECT_EQ(twin->values[5], std::byte(0));
  EXPECT_TRUE(twin.unique());
}

TEST(PagePoolTest, TrimHandsBackFreePagesOnly) {
  auto pool =
      PagePool::create({.key_dim = 32, .value_dim = 32, .type = ElementType::f16});  // two of the system's
  constexpr size_t kPayload = 2 * 4096, kHeaders = 512 * sizeof(Page);               // of one slab
  auto pages = take(*pool, 128);
  for (int i = 0; i < 128; i += 2) pages[i] = PageRef();
  EXPECT_GE(pool->stats().resident_bytes, 128 * kPayload + kHeaders) << "not yet";
  pool->trim();
  EXPECT_EQ(pool->stats().resident_bytes, 64 * kPayload + kHeaders);
  for (int i = 1; i < 128; i += 2) EXPECT_EQ(pages[i]->keys[100], std::byte(i));
  pages.clear();
  pool->trim();
  EXPECT_EQ(pool->stats().resident_bytes, 0U);
  EXPECT_EQ(pool->stats().pages_in_use, 0U);
  take(*pool, 200);
  EXPECT_EQ(pool->stats().pages_in_use, 0U);
}

TEST(PagePoolTest, PagesSmallerThanTheSystemsTrimWithoutTouchingNeighbours) {
  auto pool = PagePool::create({.key_dim = 3, .value_dim = 2, .type = ElementType::f16});  // 640 bytes
  auto pages = take(*pool, 256);
  for (int i = 0; i < 256; i++) {
    if (i % 20 != 0) pages[i] = PageRef();
  }
  pool->trim();
  const size_t headers = (size_t{4} << 20) / 640 * sizeof(Page);
  EXPECT_LT(pool->stats().resident_bytes, headers + 256 * 640);
  EXPECT_GE(pool->stats().resident_bytes, headers + 13 * 4096);
  for (int i = 0; i < 256; i += 20) {
    for (size_t b = 0; b < pool->shape().key_bytes(); b++) ASSERT_EQ(pages[i]->keys[b], std::byte(i));
    for (size_t b = 0; b < pool->shape().value_bytes(); b++) ASSERT_EQ(pages[i]->values[b], std::byte(i));
  }
}

// With huge pages a pool holds more than the pages that are in use, and says so.
TEST(PagePoolTest, ResidentBytesAreWhatTheSystemHolds) {
  if (kSanitized) GTEST_SKIP() << "sanitizers have memory of their own";
  auto pool = PagePool::create({.key_dim = 64, .value_dim = 64, .type = ElementType::f16});
  std::vector<PageRef> pages;
  pages.reserve(5000);
  constexpr double kHeaders = 1.5 * (1 << 20);  // may lie where the allocator had memory before
  const size_t before = resident_bytes();
  const auto expect_same = [&](const char* when) {
    const auto held = static_cast<double>(resident_bytes()) - static_cast<double>(before);
    EXPECT_NEAR(static_cast<double>(pool->stats().resident_bytes), held, kHeaders) << when;
  };
  const auto add = [&](int n) {
    for (PageRef& page : take(*pool, n)) pages.push_back(std::move(page));
  };
  add(1);
  expect_same("one page");
  add(4000);
  expect_same("4,001 pages");
  for (size_t i = 0; i < pages.size(); i++) {
    if (i % 3 != 0) pages[i] = PageRef();
  }
  expect_same("a third in use");
  pool->trim();
  expect_same("trimmed");
  EXPECT_LT(pool->stats().resident_bytes, size_t{24} << 20);
  add(500);
  expect_same("500 more");
  pages.clear();
  pool->trim();
  expect_same("none");
  EXPECT_EQ(pool->stats().resident_bytes, 0U);
}

// Of slabs of 256 pages: what is freed is found again wherever it lies.
TEST(PagePoolTest, TrimsOfScatteredPagesLoseNone) {
  auto pool = PagePool::create({.key_dim = 64, .value_dim = 64, .type = ElementType::f16});
  auto pages = take(*pool, 2000);
  for (int round = 0; round < 20; round++) {
    for (size_t i = round; i < pages.size(); i += 37) pages[i] = PageRef();
    if (round == 10) {  // some slabs go
      for (size_t i = 256; i < 1024; i++) pages[i] = PageRef();
    }
    pool->trim();
    for (size_t i = 0; i < pages.size(); i++) {
      if (!pages[i]) {
        pages[i] = pool->allocate();
        std::memset(pages[i]->keys, static_cast<int>(i), 8192);
      }
    }
    ASSERT_EQ(pool->stats().pages_in_use, 2000U);
    for (size_t i = 0; i < pages.size(); i++) ASSERT_EQ(pages[i]->keys[100], std::byte(i)) << round;
  }
}

TEST(PagePoolTest, ThreadsShareOnePool) {
  auto pool = PagePool::create(kSmall);
  const PageRef common = take(*pool, 1)[0];
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 50; round++) {
        auto pages = take(*pool, 20 + t);
        const PageRef shared = common;
        const PageRef twin = pool->copy(*shared);
        if (round % 10 == 0) pool->trim();
        for (size_t i = 0; i < pages.size(); i++) ASSERT_EQ(pages[i]->keys[3], std::byte(i));
        pool->stats();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(pool->stats().pages_in_use, 1U);
  EXPECT_TRUE(common.unique());
}

}  // namespace
}  // namespace kvedit
