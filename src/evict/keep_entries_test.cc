#include "evict/keep_entries.h"

#include "evict/evict_testing.h"

namespace kvedit {
namespace {

// Rows of the lane's entries `kept`, as they were.
Rows picked(const Rows& rows, const std::vector<int>& kept) {
  constexpr int kKeys = EvictCase::kKeyDim, kValues = EvictCase::kValueDim;
  Rows out;
  for (int j : kept) {
    out.positions.push_back(rows.positions[j]);
    out.keys.insert(out.keys.end(), &rows.keys[j * kKeys], &rows.keys[j * kKeys] + kKeys);
    out.values.insert(out.values.end(), &rows.values[j * kValues], &rows.values[j * kValues] + kValues);
  }
  return out;
}

void expect_kept(const Cache& cache, const std::vector<Rows>& before,
                 const std::vector<std::vector<int>>& kept) {
  const auto after = read_all(cache);
  for (size_t i = 0; i < kept.size(); i++)
    EXPECT_TRUE(after[i] == picked(before[i], kept[i])) << "lane " << i;
}

std::vector<const Page*> pages_of(const Lane& lane) {
  std::vector<const Page*> pages;
  for (const PageRef& page : lane.pages()) pages.push_back(&*page);
  return pages;
}

TEST(ApplyTest, KeepsExactlyTheseEntriesAndFreesTheRest) {
  EvictCase c({.entries = 1000, .type = CacheType::f16});
  const auto before = read_all(c.cache);
  const size_t bytes = c.cache.bytes();
  const auto kept = c.select(make_policy("ada-snapkv:window=8"), Budget::fraction(0.1));
  c.cache.pool()->reset_high_water();
  const size_t resident = c.cache.pool()->stats().resident_bytes;
  const EvictReport report = keep_entries(c.cache, kept);
  expect_kept(c.cache, before, kept);

  size_t pages = 0;
  std::vector<int> sizes;
  for (const auto& lane : kept) {
    pages += (lane.size() + kPageEntries - 1) / kPageEntries;
    sizes.push_back(static_cast<int>(lane.size()));
  }
  std::sort(sizes.begin(), sizes.end());
  const PoolStats stats = c.cache.pool()->stats();
  EXPECT_EQ(stats.pages_in_use, pages);
  EXPECT_EQ(stats.high_water_bytes, bytes) << "packed in place";
  EXPECT_LT(stats.resident_bytes + bytes / 2, resident);
  EXPECT_EQ(report.entries_before, 4000U);
  EXPECT_EQ(report.entries_after, 400U);
  EXPECT_DOUBLE_EQ(report.keep, 0.1);
  EXPECT_EQ(report.bytes_before, bytes);
  EXPECT_EQ(report.bytes_after, pages * stats.page_bytes);
  EXPECT_EQ(report.pinned_bytes, 0U);
  EXPECT_EQ(report.lane_min, sizes[0]);
  EXPECT_EQ(report.lane_median, sizes[2]);
  EXPECT_EQ(report.lane_max, sizes[3]);
  ASSERT_EQ(report.lanes.size(), 4U);
  EXPECT_EQ(report.lanes[3].layer, 1);
  EXPECT_EQ(report.lanes[3].head, 1);
  EXPECT_EQ(report.lanes[3].entries_before, 1000);
  EXPECT_EQ(report.lanes[3].entries_after, static_cast<int>(kept[3].size()));
}

TEST(ApplyTest, LanesThatKeepEverythingKeepTheirPages) {
  for (bool shared : {false, true}) {
    EvictCase c({.entries = 300});
    const auto before = read_all(c.cache);
    std::vector<Cache> forks;
    if (shared) forks.push_back(c.cache.fork());
    const auto pages = pages_of(c.cache.lane(0, 1));
    auto kept = everything(c.cache);
    kept[2] = range(100, 200);
    keep_entries(c.cache, kept);
    expect_kept(c.cache, before, kept);
    EXPECT_EQ(pages_of(c.cache.lane(0, 1)), pages);
    if (shared) {
      EXPECT_TRUE(read_all(forks[0]) == before);
      EXPECT_EQ(pages_of(forks[0].lane(0, 1)), pages) << "still shared";
    }
  }
}

TEST(ApplyTest, LanesOfLoosePagesArePacked) {
  EvictCase c({.entries = 192});
  c.cache.remove({30, 170});  // 30 and 22 entries, in two pages
  const auto before = read_all(c.cache);
  const EvictReport report = keep_entries(c.cache, everything(c.cache));
  EXPECT_TRUE(read_all(c.cache) == before);
  EXPECT_LT(report.bytes_after, report.bytes_before);
  EXPECT_DOUBLE_EQ(report.keep, 1);
}

TEST(ApplyTest, ForksKeepTheirEntriesAndPinTheirPages) {
  EvictCase c({.entries = 500});
  const auto before = read_all(c.cache);
  const size_t bytes = c.cache.bytes();
  {
    const Cache fork = c.cache.fork();
    const auto kept = c.select(make_policy("random"), Budget::fraction(0.2));
    const EvictReport report = keep_entries(c.cache, kept);
    expect_kept(c.cache, before, kept);
    EXPECT_TRUE(read_all(fork) == before);
    EXPECT_EQ(report.pinned_bytes, bytes);
    EXPECT_EQ(c.cache.pool()->stats().bytes_in_use, bytes + report.bytes_after);
  }
  EXPECT_EQ(c.cache.pool()->stats().bytes_in_use, c.cache.bytes());
}

TEST(ApplyTest, NothingChangesWhenThePoolIsAtItsLimit) {
  EvictCase c({.entries = 500});
  const auto before = read_all(c.cache);
  const auto kept = c.select(make_policy("random"), Budget::fraction(0.2));
  const size_t page = c.cache.pool()->page_bytes();
  {
    const Cache fork = c.cache.fork();
    const size_t in_use = c.cache.pool()->stats().bytes_in_use;
    for (size_t spare = 0; spare < 8; spare++) {  // refused in the first lane, the second, ...
      c.cache.pool()->set_limit(in_use + spare * page);
      EXPECT_EQ(error_of([&] { keep_entries(c.cache, kept); }).first, ErrorCode::no_memory) << spare;
      EXPECT_TRUE(read_all(c.cache) == before);
      EXPECT_EQ(c.cache.pool()->stats().bytes_in_use, in_use);
    }
  }
  c.cache.pool()->set_limit(c.cache.bytes());  // no fork: packing in place needs no page
  keep_entries(c.cache, kept);
  expect_kept(c.cache, before, kept);
}

TEST(ApplyTest, ListsThatDoNotFitChangeNothing) {
  EvictCase c({.entries = 100});
  const auto before = read_all(c.cache);
  auto kept = everything(c.cache);
  kept[0] = range(0, 50);
  const auto refuses = [&](std::vector<int> last, ErrorCode code) {
    kept[3] = std::move(last);
    EXPECT_EQ(error_of([&] { keep_entries(c.cache, kept); }).first, code);
    EXPECT_TRUE(read_all(c.cache) == before) << "lane 0 came first";
  };
  refuses({5, 100}, ErrorCode::out_of_range);
  refuses({-1}, ErrorCode::out_of_range);
  refuses({5, 5}, ErrorCode::invalid_argument);
  kept.pop_back();
  EXPECT_EQ(error_of([&] { keep_entries(c.cache, kept); }).first, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace kvedit
