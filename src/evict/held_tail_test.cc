#include "evict/evict.h"
#include "evict/evict_testing.h"

namespace kvedit {
namespace {

TEST(HeldTailTest, IsWhatEveryLaneHoldsWithoutAGap) {
  EvictCase c({.entries = 200});
  const auto positions = range(0, 200);
  EXPECT_EQ(held_tail(c.cache, positions), 200);
  EXPECT_EQ(held_tail(c.cache, std::span(positions).first(0)), 0);
  auto entries = range(0, 200);
  entries.erase(entries.begin() + 49);
  c.cache.keep(0, 0, entries);
  EXPECT_EQ(held_tail(c.cache, positions), 150);
  c.cache.keep(1, 1, range(170, 200));
  EXPECT_EQ(held_tail(c.cache, positions), 30);
  c.cache.keep(1, 0, range(0, 199));
  EXPECT_EQ(held_tail(c.cache, positions), 0);
}

TEST(HeldTailTest, PositionsThatAnEditTookFromTheContextAreNoGap) {
  EvictCase c({.entries = 200});
  c.cache.remove({40, 90});
  auto positions = range(0, 40);
  for (Position p : range(90, 200)) positions.push_back(p);
  EXPECT_EQ(held_tail(c.cache, positions), 150);
}

}  // namespace
}  // namespace kvedit
