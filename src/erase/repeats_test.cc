#include "erase/repeats.h"

#include <gtest/gtest.h>

#include <numeric>

namespace kvedit {
namespace {

using Spans = std::vector<Span>;

// 0, 1, 2, ... with the erased tokens at some places.
std::vector<Token> text(int size, const std::vector<std::pair<int, std::vector<Token>>>& inserted) {
  std::vector<Token> all(size);
  std::iota(all.begin(), all.end(), 0);
  for (const auto& [at, tokens] : inserted) std::copy(tokens.begin(), tokens.end(), all.begin() + at);
  return all;
}

const std::vector<std::vector<Token>> kErased = {{901, 902, 903, 904, 905}, {911, 912, 913}};

TEST(RepeatsTest, FindsRunsOfThreeAndMoreWithWhatStandsBehindThem) {
  EXPECT_EQ(repeats_of(kErased, text(100, {{40, {902, 903, 904}}}), 0, 1000).spans, (Spans{{40, 55}}));
  EXPECT_EQ(repeats_of(kErased, text(100, {{40, {902, 903}}, {60, {903, 902, 901}}}), 0, 1000).spans, Spans())
      << "two tokens, another order";
  EXPECT_EQ(repeats_of(kErased, text(100, {{40, {904, 905, 911}}}), 0, 1000).spans, Spans())
      << "of two texts";
  EXPECT_EQ(repeats_of(kErased, text(50, {{45, {911, 912, 913}}}), 0, 1000).spans, (Spans{{45, 50}}))
      << "no further than the text";
}

TEST(RepeatsTest, TakesTheLongestFirstWithinItsBudget) {
  const std::vector<Token> all =
      text(200, {{20, {911, 912, 913}}, {80, kErased[0]}, {120, {901, 902, 903, 904}}});
  EXPECT_EQ(repeats_of(kErased, all, 0, 1000).spans, (Spans{{80, 97}, {120, 136}, {20, 35}}));
  EXPECT_EQ(repeats_of(kErased, all, 0, 33).spans, (Spans{{80, 97}, {120, 136}}));
  EXPECT_EQ(repeats_of(kErased, all, 0, 20).spans, (Spans{{80, 97}, {120, 123}}));
  EXPECT_EQ(repeats_of(kErased, all, 81, 1000).spans, (Spans{{81, 97}, {120, 136}}))
      << "from the middle of a run on; of equally long ones the first comes first";
  EXPECT_EQ(repeats_of(kErased, all, 0, 0).spans, Spans());
}

TEST(RepeatsTest, OfShortTextsThereAreNone) {
  EXPECT_EQ(repeats_of(kErased, {}, 0, 10).spans, Spans());
  const std::vector<std::vector<Token>> two = {{1, 2}, {}};
  EXPECT_EQ(repeats_of(two, text(10, {}), 0, 10).spans, Spans());
}

}  // namespace
}  // namespace kvedit
