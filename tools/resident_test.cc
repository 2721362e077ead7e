#include "tools/resident.h"

#include <gtest/gtest.h>

#include <vector>

namespace kvedit {
namespace {

constexpr size_t kSlack = 1U << 20U;  // the kernel counts pages in batches

TEST(ResidentTest, PeakIsSinceTheLastReset) {
  const size_t before = resident_bytes();
  ASSERT_GT(before, 0U);
  {
    const std::vector<char> block(64 * kSlack, 1);
    EXPECT_EQ(block.back(), 1);
  }
  EXPECT_GE(peak_resident_bytes() + kSlack, before + 64 * kSlack);
  reset_peak_resident();
  EXPECT_LE(peak_resident_bytes(), resident_bytes() + kSlack);
}

}  // namespace
}  // namespace kvedit
