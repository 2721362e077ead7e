#include "cache/cache.h"

#include <complex>
#include <cstdio>
#include <random>
#include <thread>

#include "cache/cache_testing.h"

namespace kvedit {
namespace {

constexpr PageShape kShape{.key_dim = 8, .value_dim = 4, .type = ElementType::f16};

struct CacheTest : testing::Test {
  std::shared_ptr<PagePool> pool = PagePool::create(kShape);
  Cache cache{pool, 2, 3, test_ropes(2, 4)};

  void fill(Position begin, Position end) {
    cache.append(range(begin, end));
    write_test_rows(cache, range(begin, end));
  }
  void expect_rows(const Cache& cache, std::span<const Position> positions) {
    for (int lane = 0; lane < 6; lane++) {
      const Rows rows = read_rows(cache.lane(lane / 3, lane % 3), kShape);
      EXPECT_EQ(rows.positions, std::vector(positions.begin(), positions.end()));
      EXPECT_EQ(rows.keys, test_rows(lane, positions, kShape.key_dim, false));
      EXPECT_EQ(rows.values, test_rows(lane, positions, kShape.value_dim, true));
    }
  }
};

TEST_F(CacheTest, AppendedEntriesAreFound) {
  fill(0, 10);
  fill(20, 170);
  EXPECT_EQ(cache.entries(), 6U * 160);
  EXPECT_EQ(cache.pages(), 6U * 3);
  EXPECT_EQ(cache.bytes(), 18 * pool->page_bytes());
  EXPECT_EQ(cache.last_position(), 169);
  const Lane& lane = cache.lane(1, 2);
  EXPECT_FALSE(lane.find(15));
  EXPECT_FALSE(lane.find(170));
  const EntryRef entry = lane.find(100);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry.page->positions[entry.index], 100);
  EXPECT_EQ(lane.at(90).page->positions[lane.at(90).index], 100);
  EXPECT_FALSE(lane.at(160));
  auto all = range(0, 10);
  for (Position p : range(20, 170)) all.push_back(p);
  expect_rows(cache, all);
}

TEST_F(CacheTest, AppendRefusesPositionsOutOfOrder) {
  fill(0, 41);
  const std::vector<Position> early = {12};
  const auto [code, message] = error_of([&] { cache.append(early); });
  EXPECT_EQ(code, ErrorCode::out_of_range);
  EXPECT_EQ(message, "[cache] append position 12 is not after the last, 40");
  EXPECT_EQ(error_of([&] {
              cache.append(std::vector<Position>{50, 50});
            }).first,
            ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { cache.append(std::vector<Position>{-1}); }).first, ErrorCode::invalid_argument);
  expect_rows(cache, range(0, 41));
}

TEST_F(CacheTest, ForksShareUntilOneSideWrites) {
  fill(0, 100);
  Cache fork = cache.fork();
  EXPECT_EQ(pool->stats().pages_in_use, 12U);
  EXPECT_EQ(cache.shared_bytes(), cache.bytes());
  fork.append(range(100, 101));
  write_test_rows(fork, range(100, 101));
  EXPECT_EQ(pool->stats().pages_in_use, 18U);  // the last page of six lanes
  expect_rows(cache, range(0, 100));
  expect_rows(fork, range(0, 101));
  cache = std::move(fork);
  EXPECT_EQ(pool->stats().pages_in_use, 12U);
  EXPECT_EQ(cache.shared_bytes(), 0U);
}

TEST_F(CacheTest, AssignmentReleasesIntoTheOldPool) {
  fill(0, 100);
  cache = Cache(PagePool::create(kShape), 2, 3, test_ropes(2, 4));
  EXPECT_EQ(pool->stats().pages_in_use, 0U);
  pool.reset();
  cache = Cache(PagePool::create(kShape), 2, 3, test_ropes(2, 4));  // the last owner of its pool
}

TEST_F(CacheTest, WriteIntoASharedPageIsRefused) {
  fill(0, 70);
  const Cache fork = cache.fork();
  const std::vector<float> key(8), value(4);
  EXPECT_EQ(error_of([&] { cache.write(0, 0, range(3, 4), key, value); }).first, ErrorCode::invalid_argument);
  cache.overwrite(range(3, 4));
  cache.write(0, 0, range(3, 4), key, value);
  EXPECT_EQ(pool->stats().pages_in_use, 18U);  // one page a lane became private
  expect_rows(fork, range(0, 70));
}

TEST_F(CacheTest, WriteSkipsPositionsThatAreNotHeld) {
  fill(0, 10);
  cache.keep(0, 1, std::vector<int>{2, 5});
  const auto positions = range(0, 20);
  write_test_rows(cache, positions);
  EXPECT_EQ(cache.lane(0, 1).positions(), (std::vector<Position>{2, 5}));
  EXPECT_EQ(cache.lane(0, 0).size(), 10);
}

TEST_F(CacheTest, InsertFillsAGapAndCopiesOnlyThePageAround) {
  fill(0, 30);
  fill(50, 300);
  const Page* far = &*cache.lane(0, 0).pages().back();
  cache.insert(range(30, 50));
  write_test_rows(cache, range(30, 50));
  expect_rows(cache, range(0, 300));
  EXPECT_EQ(&*cache.lane(0, 0).pages().back(), far);
  EXPECT_EQ(error_of([&] { cache.insert(range(299, 310)); }).first, ErrorCode::out_of_range);
  expect_rows(cache, range(0, 300));
}

TEST_F(CacheTest, RemoveTouchesOnlyBorderPages) {
  fill(0, 640);
  const Cache fork = cache.fork();
  cache.remove({100, 500});
  EXPECT_EQ(pool->stats().pages_in_use, 60U + 6 * 2);
  auto left = range(0, 100);
  for (Position p : range(500, 640)) left.push_back(p);
  expect_rows(cache, left);
  expect_rows(fork, range(0, 640));
  cache.remove({0, 1000});
  EXPECT_EQ(cache.entries(), 0U);
  EXPECT_EQ(cache.last_position(), -1);
  EXPECT_EQ(error_of([&] { cache.remove({5, 4}); }).first, ErrorCode::invalid_argument);
}

TEST_F(CacheTest, ShiftRefusesToBreakTheOrder) {
  fill(0, 100);
  EXPECT_EQ(error_of([&] { cache.shift(50, -1); }).second,
            "[cache] shift from 50 by -1 passes position 49, which stays");
  EXPECT_EQ(error_of([&] { cache.shift(0, -1); }).first, ErrorCode::out_of_range);
  EXPECT_EQ(error_of([&] { cache.shift(0, INT32_MAX - 98); }).first, ErrorCode::out_of_range);
  EXPECT_EQ(error_of([&] { cache.shift(-5, 1); }).first, ErrorCode::invalid_argument);
  expect_rows(cache, range(0, 100));
}

TEST_F(CacheTest, ShiftWithNoMemoryForCopiesChangesNothing) {
  fill(0, 100);
  const Cache fork = cache.fork();
  pool->set_limit(pool->stats().bytes_in_use + 11 * pool->page_bytes());
  EXPECT_EQ(error_of([&] { cache.shift(0, 5); }).first, ErrorCode::no_memory);
  expect_rows(cache, range(0, 100));
  EXPECT_EQ(cache.shared_bytes(), cache.bytes());
  pool->set_limit(pool->stats().bytes_in_use + 12 * pool->page_bytes());
  cache.shift(0, 5);
  expect_rows(fork, range(0, 100));
  EXPECT_EQ(cache.last_position(), 104);
}

TEST_F(CacheTest, KeepOfAllEntriesChangesNoBit) {
  fill(0, 200);
  cache.remove({20, 90});
  const auto before = read_all(cache);
  const Cache fork = cache.fork();
  for (int lane = 0; lane < 6; lane++) cache.keep(lane / 3, lane % 3, range(0, 130));
  EXPECT_EQ(read_all(cache), before);
  EXPECT_EQ(read_all(fork), before);
  for (const PageRef& page : cache.lane(0, 0).pages().first(2)) EXPECT_EQ(page->count, 64);
}

TEST_F(CacheTest, KeepPacksPrivatePagesInPlace) {
  fill(0, 640);
  pool->set_limit(pool->stats().bytes_in_use);
  pool->reset_high_water();
  std::vector<int> odd;
  for (int i = 1; i < 640; i += 2) odd.push_back(i);
  for (int lane = 0; lane < 6; lane++) cache.keep(lane / 3, lane % 3, odd);
  expect_rows(cache, odd);
  EXPECT_EQ(cache.pages(), 30U);
  EXPECT_EQ(pool->stats().pages_in_use, 30U);
  EXPECT_EQ(pool->stats().high_water_bytes, 60 * pool->page_bytes());
  EXPECT_EQ(error_of([&] { cache.keep(0, 0, std::vector<int>{320}); }).first, ErrorCode::out_of_range);
  EXPECT_EQ(error_of([&] { cache.keep(0, 0, std::vector<int>{3, 3}); }).first, ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { cache.keep(2, 0, {}); }).first, ErrorCode::out_of_range);
  cache.keep(0, 0, {});
  EXPECT_EQ(cache.lane(0, 0).size(), 0);
}

TEST(CacheMemoryTest, ResidentMemoryFallsAfterKeepAndTrim) {
  if (kSanitized) GTEST_SKIP() << "sanitizers keep freed memory";
  auto pool = PagePool::create({.key_dim = 64, .value_dim = 64, .type = ElementType::f16});
  Cache cache(pool, 10, 3, test_ropes(10, 32));
  for (Position p = 0; p < 8000; p += 100) {  // page by page over all lanes, as prefill does
    cache.append(range(p, p + 100));
    write_test_rows(cache, range(p, p + 100));
  }
  const size_t full = resident_bytes();
  std::vector<int> tenth;
  for (int i = 0; i < 8000; i += 10) tenth.push_back(i);
  for (int lane = 0; lane < 30; lane++) cache.keep(lane / 3, lane % 3, tenth);
  pool->trim();
  const size_t kept = resident_bytes();
  std::printf("resident: %zu MB full (cache 62 MB), %zu MB after keeping a tenth\n", full >> 20, kept >> 20);
  EXPECT_LT(kept + (size_t{50} << 20), full);
  const size_t headers = (size_t{2} * 256 - 390) * sizeof(Page);  // of the two slabs' free pages
  EXPECT_EQ(pool->stats().resident_bytes, cache.bytes() + headers);
}

TEST_F(CacheTest, KeepLeavesSharedPagesThatStayAlone) {
  fill(0, 640);
  const Cache fork = cache.fork();
  cache.keep(0, 0, range(0, 64 * 3));
  EXPECT_EQ(pool->stats().pages_in_use, 60U);
  cache.keep(0, 1, range(0, 64 * 3 + 1));
  EXPECT_EQ(pool->stats().pages_in_use, 61U);
  expect_rows(fork, range(0, 640));
}

TEST_F(CacheTest, RollbackUndoesAppendAndInsert) {
  fill(0, 50);
  fill(80, 100);
  const auto before = read_all(cache);
  cache.append(range(100, 300));
  cache.rollback(range(100, 300));
  EXPECT_EQ(read_all(cache), before);
  cache.insert(range(55, 75));
  cache.rollback(range(55, 75));
  EXPECT_EQ(read_all(cache), before);
  EXPECT_EQ(cache.last_position(), 99);
}

// Every key is turned again and again, each time rounded. In f16 one rounding moves an element by at
// most 2^-11 of itself, so a pair by at most 2^-11 of its length: 100 of them by 0.049, plus what the
// length itself grows, 5 %. Roundings are nearly independent, so what is seen is far less: about
// sqrt(100) times a typical one (0.002), the worst of 3,200 pairs a few times that. In f32 the
// arithmetic and the cosine's and sine's own rounding count as well: below 2^-22 a turn in all.
TEST(CacheShiftTest, AHundredShiftsDriftLittle) {
  for (bool neox : {false, true}) {
    for (ElementType type : {ElementType::f16, ElementType::f32}) {
      auto pool = PagePool::create({.key_dim = 66, .value_dim = 2, .type = type});
      const auto ropes = test_ropes(1, 32, neox);  // two dimensions are not turned
      Cache cache(pool, 1, 1, ropes);
      std::mt19937 random(7);
      std::normal_distribution<float> normal;
      std::vector<float> keys(100 * 66);
      for (float& x : keys) x = normal(random);
      cache.append(range(3000, 3100));
      cache.write(0, 0, range(3000, 3100), keys, std::vector<float>(200));
      cache.lane(0, 0).read(0, 100, keys, {});  // as rounded on storing
      int64_t total = 0;
      for (int i = 0; i < 100; i++) {
        const int delta = static_cast<int>(random() % 41) - 20;
        cache.shift(2000 - 100 * 20, delta);
        total += delta;
      }
      std::vector<float> turned(keys.size());
      cache.lane(0, 0).read(0, 100, turned, {});
      double worst = 0;
      const Rope& rope = (*ropes)[0];
      for (int entry = 0; entry < 100; entry++) {
        for (int pair = 0; pair < 32; pair++) {
          const int x = entry * 66 + rope.first(pair), y = entry * 66 + rope.second(pair);
          const std::complex<double> key(keys[x], keys[y]);
          const auto expected = key * std::polar(1.0, static_cast<double>(total) * rope.frequencies[pair]);
          worst = std::max(worst,
                           std::abs(expected - std::complex<double>(turned[x], turned[y])) / std::abs(key));
        }
        for (int d : {64, 65}) EXPECT_EQ(turned[entry * 66 + d], keys[entry * 66 + d]);
      }
      std::printf("100 shifts, %s, %s: worst drift %.2g of the pair's length\n",
                  type == ElementType::f16 ? "f16" : "f32", neox ? "neox" : "interleaved", worst);
      EXPECT_LT(worst, 100 * (type == ElementType::f16 ? 1.05 / 2048 : std::ldexp(1.0, -22)));
      EXPECT_EQ(cache.lane(0, 0).positions().front(), 3000 + total);
    }
  }
}

TEST_F(CacheTest, ForksMayBeUsedByDifferentThreads) {
  fill(0, 500);
  const auto before = read_all(cache);
  std::vector<Cache> forks;
  for (int i = 0; i < 4; i++) forks.push_back(cache.fork());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 10; round++) {
        Cache mine = forks[t].fork();
        mine.append(range(500, 520 + t));
        write_test_rows(mine, range(500, 520 + t));
        mine.remove({100 + t, 200});
        mine.shift(200, -50);
        mine.insert(range(120, 125));
        mine.overwrite(range(0, 10));
        write_test_rows(mine, range(0, 10));
        mine.keep(0, t % 3, range(50, 300));
        forks[t] = round % 2 == 0 ? mine.fork() : cache.fork();
        if (round % 2 == 0) forks[t] = cache.fork();
        if (round == 5) pool->trim();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(read_all(cache), before);
  forks.clear();
  EXPECT_EQ(pool->stats().pages_in_use, cache.pages());
  EXPECT_EQ(cache.shared_bytes(), 0U);
}

// The last two owners of the same pages both write: one of them becomes the only owner meanwhile.
TEST_F(CacheTest, TwoOwnersMayLetGoAtOnce) {
  for (int round = 0; round < 100; round++) {
    Cache a(pool, 2, 3, test_ropes(2, 4));
    a.append(range(0, 100));
    write_test_rows(a, range(0, 100));
    Cache b = a.fork();
    std::thread other([&] {
      b.append(range(100, 130));
      b.shift(0, 3);
      b.remove({0, 50});
    });
    a.append(range(100, 130));
    write_test_rows(a, range(100, 130));
    a.keep(0, 0, range(10, 40));
    other.join();
    EXPECT_EQ(a.lane(0, 1).size(), 130);
    EXPECT_EQ(b.lane(0, 0).size(), 130 - 47);
  }
  EXPECT_EQ(pool->stats().pages_in_use, 0U);
}

TEST(CacheConstructionTest, RefusesWhatDoesNotFit) {
  auto pool = PagePool::create(kShape);
  EXPECT_EQ(error_of([&] { Cache(pool, 2, 1, test_ropes(1, 4)); }).first, ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { Cache(pool, 1, 1, test_ropes(1, 5)); }).first, ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { Cache(pool, 0, 1, test_ropes(0, 4)); }).first, ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { Cache(nullptr, 1, 1, test_ropes(1, 4)); }).first, ErrorCode::invalid_argument);
}

TEST(CacheFreeBeforeTest, WholePagesAreFreedAtTheFront) {
  auto pool = PagePool::create({.key_dim = 4, .value_dim = 4});
  Cache cache(pool, 2, 1, test_ropes(2, 2));
  cache.append(range(0, 300));
  write_test_rows(cache, range(0, 300));
  const Cache parent = cache.fork();
  const size_t pages = cache.pages();
  cache.free_before(0, 63);
  EXPECT_EQ(cache.pages(), pages) << "position 63 stays, and its page with it";
  EXPECT_EQ(cache.held_from(), 0);
  cache.free_before(0, 150);
  EXPECT_EQ(cache.pages(), pages - 2);
  EXPECT_EQ(cache.lane(0, 0).positions(), range(128, 300));
  EXPECT_EQ(cache.lane(1, 0).size(), 300) << "the other layer keeps all";
  EXPECT_EQ(cache.held_from(), 128);
  EXPECT_EQ(cache.entries(), 300U + 172U);
  EXPECT_EQ(parent.entries(), 600U);
  EXPECT_EQ(parent.held_from(), 0);
  EXPECT_EQ(cache.fork().held_from(), 128);
  cache.free_before(0, 1000);
  EXPECT_EQ(cache.lane(0, 0).size(), 0);
  EXPECT_EQ(cache.held_from(), 300);
}

TEST(CacheFreeBeforeTest, WhatIsHeldMovesWithTheEntries) {
  auto pool = PagePool::create({.key_dim = 4, .value_dim = 4});
  Cache freed(pool, 2, 1, test_ropes(2, 2));
  freed.append(range(0, 300));
  freed.free_before(0, 150);  // held from 128 on
  const auto after = [&](Span gap, int delta) {
    Cache cache = freed.fork();
    cache.remove(gap);
    cache.shift(gap.end, delta);
    return cache.held_from();
  };
  EXPECT_EQ(after({10, 20}, -10), 118) << "before it";
  EXPECT_EQ(after({118, 128}, -10), 118) << "up to it";
  EXPECT_EQ(after({120, 140}, -20), 120) << "across it: all behind the gap is held";
  EXPECT_EQ(after({128, 140}, -12), 128);
  EXPECT_EQ(after({200, 210}, -10), 128) << "behind it";
  EXPECT_EQ(after({50, 50}, 10), 138) << "what was freed moves up too";
  EXPECT_EQ(after({128, 128}, 10), 128) << "a gap before the first that is held";
  EXPECT_EQ(after({200, 200}, 10), 128);
  Cache empty = freed.fork();
  empty.remove({0, 1000});
  EXPECT_EQ(empty.held_from(), 0);
}

}  // namespace
}  // namespace kvedit
