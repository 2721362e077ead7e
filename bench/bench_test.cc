#include <gtest/gtest.h>

#include "bench/contest.h"
#include "bench/prose.h"

namespace kvedit::bench {
namespace {

TEST(MeasureTest, SummaryIsMinimumMedianAndMaximum) {
  const Summary odd = summarize({3, 1, 2});
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.max, 3);
  EXPECT_EQ(summarize({4, 1, 2, 3}).median, 2.5);
  EXPECT_THROW(summarize({}), Error);
}

TEST(MeasureTest, RatioAboveOneMeansOursIsBetter) {
  EXPECT_EQ(ratios({20, 30}, {10, 10}, true), (std::vector<double>{2, 3}));    // tok/s
  EXPECT_EQ(ratios({20, 5}, {10, 10}, false), (std::vector<double>{0.5, 2}));  // ms
  EXPECT_TRUE(ratios({20}, {}, true).empty());
}

TEST(MeasureTest, ResidentMemoryNeverPassesItsPeak) {
  const size_t now = resident_bytes();
  EXPECT_GT(now, 0U);
  EXPECT_GE(peak_resident_bytes() + (1U << 20U), now) << "the kernel counts pages in batches";
}

TEST(RowTest, MissingPeerIsNull) {
  const Row row{.name = "fork/8000", .unit = "ms", .ours = {2, 1, 3}, .words = "fork --length 8000"};
  Setting setting;
  setting.words = "--threads 2";
  const Json json = to_json(row, setting);
  EXPECT_EQ(json["ours"]["median"], 2);
  EXPECT_TRUE(json["peer"].is_null());
  EXPECT_TRUE(json["ratio"].is_null());
  EXPECT_EQ(json["command"], "kvedit bench fork --length 8000 --threads 2");
}

TEST(ProseTest, IsTheSameEveryTime) {
  EXPECT_EQ(prose(50), prose(50));
  EXPECT_NE(prose(50, 1), prose(50, 2));
  EXPECT_TRUE(prose(100).starts_with(prose(50)));
}

TEST(EraseTest, DepthIsAShareOrAToken) {
  EXPECT_EQ(erase_span({8000, 64, "10%"}), (Span{800, 864}));
  EXPECT_EQ(erase_span({8000, 64, "7"}), (Span{7, 71}));
  EXPECT_THROW(erase_span({8000, 64, "deep"}), Error);
  EXPECT_THROW(erase_span({8000, 64, "-1"}), Error);
  EXPECT_THROW(erase_span({8000, 64, "1e12"}), Error);
  EXPECT_THROW(erase_span({8000, 64, "nan"}), Error);
  EXPECT_THROW(erase_span({100, 99, "1"}), Error);  // would erase the last token, which is pending
}

}  // namespace
}  // namespace kvedit::bench
