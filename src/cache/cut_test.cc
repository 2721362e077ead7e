// Numbers that f16 cannot hold.
#include <cmath>
#include <limits>

#include "cache/cache_testing.h"
#include "kvedit/types.h"

namespace kvedit {
namespace {

constexpr float kMost = 65504;

class CutTest : public testing::Test {
 protected:
  CutTest() {
    set_log_sink([this](int level, std::string_view line) {
      if (level <= 4) warnings_.emplace_back(line);
    });
  }
  ~CutTest() override { set_log_sink({}); }

  static Cache cache(ElementType type) {
    return {PagePool::create({.key_dim = 4, .value_dim = 4, .type = type}), 1, 1, test_ropes(1, 2)};
  }
  std::vector<std::string> warnings_;
};

TEST_F(CutTest, KeysAndValuesBecomeTheLargestNumberOfF16) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> keys = {1e6F, -1e6F, 65504, 65519}, values = {-infinity, infinity, NAN, -7e4F};
  Cache of_16 = cache(ElementType::f16), of_32 = cache(ElementType::f32);
  for (Cache* each : {&of_32, &of_16}) {
    each->append(range(0, 2));
    each->write(0, 0, range(0, 1), keys, values);
    EXPECT_EQ(warnings_.size(), each == &of_16 ? 1U : 0U);
  }
  const Rows rows = read_rows(of_16.lane(0, 0), of_16.pool()->shape());
  EXPECT_EQ(std::vector(rows.keys.begin(), rows.keys.begin() + 4),
            (std::vector{kMost, -kMost, kMost, kMost}));
  EXPECT_EQ(rows.values[0], -kMost);
  EXPECT_EQ(rows.values[1], kMost);
  EXPECT_TRUE(std::isnan(rows.values[2]));
  EXPECT_EQ(rows.values[3], -kMost);
  EXPECT_NE(warnings_.at(0).find("65504"), std::string::npos) << warnings_[0];
  of_16.write(0, 0, range(1, 2), keys, values);
  EXPECT_EQ(warnings_.size(), 1U) << "told once";
}

// By one radian, (6e4, 6e4) turns to (-18,069, 82,907).
TEST_F(CutTest, KeysThatAShiftTurnsOutOfRangeAreCut) {
  for (const bool shared : {false, true}) {
    warnings_.clear();
    Cache shifted = cache(ElementType::f16);
    shifted.append(range(0, 1));
    shifted.write(0, 0, range(0, 1), std::vector{6e4F, 6e4F, 1.0F, 1.0F}, std::vector<float>(4));
    std::vector<Cache> forks;
    if (shared) forks.push_back(shifted.fork());
    EXPECT_TRUE(warnings_.empty());
    shifted.shift(0, 1);
    const Rows rows = read_rows(shifted.lane(0, 0), shifted.pool()->shape());
    EXPECT_NEAR(rows.keys[0], 6e4 * (std::cos(1.0) - std::sin(1.0)), 10);
    EXPECT_EQ(rows.keys[1], kMost);
    EXPECT_EQ(warnings_.size(), 1U);
  }
}

}  // namespace
}  // namespace kvedit
