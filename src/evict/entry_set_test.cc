#include "evict/entry_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <random>

namespace kvedit {
namespace {

TEST(EntrySetTest, IsTheSetOfItsNumbers) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; round++) {
    const auto draw = [&](int most) { return static_cast<int>(random() % most); };
    const int begin = draw(100), end = begin + draw(200);
    const EntrySet all(begin, end);
    std::vector<int> numbers;
    for (int i = begin; i < end; i++) numbers.push_back(i);
    EXPECT_EQ(all.list(), numbers);
    EXPECT_EQ(all.size(), end - begin);
    EXPECT_EQ(all.empty(), begin == end);

    std::vector<int> ranks, chosen, others;
    for (int rank = 0; rank < end - begin; rank++) {
      const bool taken = draw(3) == 0;
      if (taken) ranks.push_back(rank);
      (taken ? chosen : others).push_back(begin + rank);
    }
    EntrySet picked = all.at(ranks);
    EXPECT_EQ(picked.list(), chosen);
    EntrySet left = all;
    left -= picked;
    EXPECT_EQ(left.list(), others);
    picked |= left;
    EXPECT_EQ(picked.list(), numbers);
    EntrySet longer(150, 310);
    longer |= all;
    longer -= EntrySet(0, 500);
    EXPECT_TRUE(longer.empty());
  }
}

}  // namespace
}  // namespace kvedit
