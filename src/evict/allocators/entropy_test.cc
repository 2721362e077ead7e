#include <cmath>

#include "cache/cache_testing.h"
#include "evict/parts.h"

namespace kvedit {
namespace {

std::vector<int> allocate(const std::vector<Candidates>& lanes, int kv_heads, size_t budget) {
  const AllocatorPart part = entropy_allocator();
  Parameters parameters("evict");
  parameters.declare(part.parameters);
  parameters.set("alpha", "0");
  return part.make(parameters)->allocate(lanes, kv_heads, budget);
}

// A layer of one lane: `even` equal scores, the rest nothing. Its entropy is ln(even) / ln(length).
Candidates layer_of(int layer, int length, int even) {
  Candidates lane{layer, 0, std::vector<float>(length)};
  std::fill_n(lane.scores.begin(), even, 0.25F);
  return lane;
}

TEST(EntropyTest, LayersGetTheirShareOfTheEntropy) {
  // 1 : 1/2 : 1/4 of the largest entropy, ln 256.
  const std::vector<Candidates> lanes = {layer_of(0, 256, 256), layer_of(1, 256, 16), layer_of(2, 256, 4)};
  EXPECT_EQ(allocate(lanes, 1, 70), (std::vector<int>{40, 20, 10}));
  EXPECT_EQ(allocate(lanes, 1, 71), (std::vector<int>{41, 20, 10})) << "40.57, 20.29, 10.14";
  EXPECT_EQ(allocate(lanes, 1, 500), (std::vector<int>{256, 163, 81})) << "two to one of what is left";
}

TEST(EntropyTest, WithinALayerHeadsShareByTheHighestScores) {
  std::vector<Candidates> lanes = {layer_of(0, 20, 20), layer_of(0, 20, 20)};
  lanes[1].head = 1;
  for (float& s : lanes[1].scores) s = 0.125F;
  EXPECT_EQ(allocate(lanes, 2, 20), (std::vector<int>{20, 0}));
}

TEST(EntropyTest, ScoresThatSayNothingShareAlike) {
  for (const float s : {0.0F, -3.0F, std::numeric_limits<float>::infinity()}) {
    std::vector<Candidates> lanes = {layer_of(0, 50, 0), layer_of(1, 50, 0)};
    for (auto& lane : lanes) std::fill(lane.scores.begin(), lane.scores.end(), s);
    EXPECT_EQ(allocate(lanes, 1, 30), (std::vector<int>{15, 15}));
  }
}

}  // namespace
}  // namespace kvedit
