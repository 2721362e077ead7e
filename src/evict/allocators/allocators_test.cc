// Properties every allocator of the table has, and each against its definition.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <tuple>

#include "cache/cache_testing.h"
#include "evict/allocators/shares.h"
#include "evict/parts.h"
#include "model/lkv_testing.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

std::unique_ptr<Allocator> make(const AllocatorPart& part, const char* key = nullptr,
                                const char* value = nullptr) {
  static const std::string lkv =
      write_lkv({.layers = 4, .kv_heads = 5}, temporary_path("allocators.lkv.gguf"));
  Parameters parameters("evict");
  parameters.declare(part.parameters);
  for (const Parameter& p : part.parameters) {
    if (p.free_text) parameters.set(p.name, lkv);
  }
  if (key) parameters.set(key, value);
  return part.make(parameters);
}

// Lanes of random lengths up to `longest`, scores from few values so that many tie.
std::vector<Candidates> random_lanes(std::mt19937& random, int layers, int kv_heads, int longest,
                                     int values) {
  std::vector<Candidates> lanes;
  for (int i = 0; i < layers * kv_heads; i++) {
    Candidates lane{i / kv_heads, i % kv_heads, std::vector<float>(random() % (longest + 1))};
    for (float& s : lane.scores) s = static_cast<float>(random() % values) * (lane.head + 1.0F);
    lanes.push_back(lane);
  }
  return lanes;
}

size_t total(std::span<const Candidates> lanes) {
  size_t sum = 0;
  for (const Candidates& lane : lanes) sum += lane.scores.size();
  return sum;
}

TEST(AllocatorTest, SpendsTheBudgetWithinTheLanes) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; round++) {
    const int layers = 1 + static_cast<int>(random() % 4), kv_heads = 1 + static_cast<int>(random() % 4);
    const auto lanes = random_lanes(random, layers, kv_heads, 40, 5);
    for (const AllocatorPart& part : allocator_parts()) {
      const auto allocator = make(part);
      for (size_t budget :
           {size_t{0}, size_t{1}, random() % (total(lanes) + 1), total(lanes), total(lanes) + 7}) {
        const auto counts = allocator->allocate(lanes, kv_heads, budget);
        ASSERT_EQ(counts.size(), lanes.size());
        for (size_t i = 0; i < lanes.size(); i++) {
          ASSERT_GE(counts[i], 0) << part.name;
          ASSERT_LE(counts[i], static_cast<int>(lanes[i].scores.size())) << part.name;
        }
        ASSERT_EQ(std::accumulate(counts.begin(), counts.end(), size_t{0}), std::min(budget, total(lanes)))
            << part.name;
        ASSERT_EQ(counts, allocator->allocate(lanes, kv_heads, budget));
      }
    }
  }
}

TEST(AllocatorTest, SharesInProportionAreWithinOneOfExactWhereNothingIsFull) {
  EXPECT_EQ(in_proportion(std::vector{3.0, 1.0, 0.0}, std::vector<size_t>{9, 9, 9}, 8),
            (std::vector<size_t>{6, 2, 0}));
  EXPECT_EQ(in_proportion(std::vector{1.0, 1.0, 1.0}, std::vector<size_t>{9, 9, 9}, 8),
            (std::vector<size_t>{3, 3, 2}));
  EXPECT_EQ(in_proportion(std::vector{8.0, 1.0, 1.0}, std::vector<size_t>{2, 9, 9}, 8),
            (std::vector<size_t>{2, 3, 3}));
  EXPECT_EQ(in_proportion(std::vector{1.0, 0.0, 0.0}, std::vector<size_t>{2, 9, 1}, 8),
            (std::vector<size_t>{2, 5, 1}));
  std::mt19937 random(13);
  for (int round = 0; round < 500; round++) {
    std::vector<double> weights(1 + random() % 6);
    for (double& w : weights) w = static_cast<double>(random() % 100);
    const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
    const size_t budget = random() % 50;
    const auto shares = in_proportion(weights, std::vector<size_t>(weights.size(), 1000), budget);
    ASSERT_EQ(std::accumulate(shares.begin(), shares.end(), size_t{0}), budget);
    for (size_t i = 0; i < shares.size() && all > 0; i++) {
      ASSERT_LT(std::fabs(static_cast<double>(shares[i]) - weights[i] / all * static_cast<double>(budget)),
                1);
    }
  }
}

TEST(AllocatorTest, UniformGivesLanesTheSameUntilTheyAreFull) {
  const std::vector<Candidates> lanes = {{0, 0, std::vector<float>(3)},
                                         {0, 1, std::vector<float>(50)},
                                         {1, 0, std::vector<float>(20)},
                                         {1, 1, std::vector<float>(50)}};
  const auto uniform = make(uniform_allocator());
  EXPECT_EQ(uniform->allocate(lanes, 2, 8), (std::vector<int>{2, 2, 2, 2}));
  EXPECT_EQ(uniform->allocate(lanes, 2, 10), (std::vector<int>{3, 3, 2, 2}));
  EXPECT_EQ(uniform->allocate(lanes, 2, 35), (std::vector<int>{3, 11, 11, 10}));
  EXPECT_EQ(uniform->allocate(lanes, 2, 84), (std::vector<int>{3, 31, 20, 30}));
}

TEST(AllocatorTest, WaterFillIsAsEqualAsRoomAllows) {
  std::mt19937 random(5);
  for (int round = 0; round < 500; round++) {
    std::vector<size_t> room(1 + random() % 6);
    for (size_t& r : room) r = random() % 12;
    const size_t all = std::accumulate(room.begin(), room.end(), size_t{0});
    const size_t budget = random() % (all + 3);
    // By the definition: one at a time to the first of the emptiest that have room.
    std::vector<size_t> expected(room.size());
    for (size_t spent = 0; spent < std::min(budget, all); spent++) {
      size_t emptiest = room.size();
      for (size_t i = 0; i < room.size(); i++) {
        if (expected[i] < room[i] && (emptiest == room.size() || expected[i] < expected[emptiest]))
          emptiest = i;
      }
      expected[emptiest]++;
    }
    ASSERT_EQ(water_fill(room, budget), expected);
  }
}

// One layer of Ada-KV, literally: sort everything, count, blend, round by largest remainder, cap.
std::vector<int> ada_kv_reference(std::span<const Candidates> lanes, int budget, double alpha) {
  std::vector<std::tuple<float, int, int>> all;  // (-score, head, position): sorts as ties are settled
  const int heads = static_cast<int>(lanes.size());
  for (int g = 0; g < heads; g++) {
    for (size_t j = 0; j < lanes[g].scores.size(); j++) {
      all.emplace_back(-lanes[g].scores[j], g, static_cast<int>(j));
    }
  }
  std::sort(all.begin(), all.end());
  std::vector<int> f(heads), counts(heads);
  for (int i = 0; i < budget; i++) f[std::get<1>(all[i])]++;
  std::vector<std::pair<double, int>> remainders;  // (-remainder, head)
  int spent = 0;
  for (int g = 0; g < heads; g++) {
    const double share = (1 - alpha) * f[g] + alpha * budget / heads;
    counts[g] = static_cast<int>(std::floor(share + 1e-9));
    // Rounded, so that equal remainders compare equal.
    remainders.emplace_back(-std::round((share - counts[g]) * 1e7) / 1e7, g);
    spent += counts[g];
  }
  std::sort(remainders.begin(), remainders.end());
  for (int i = 0; spent < budget; i++, spent++) counts[remainders[i].second]++;
  int surplus = 0;
  std::vector<int> extra(heads);
  for (int g = 0; g < heads; g++) {
    const int length = static_cast<int>(lanes[g].scores.size());
    surplus += std::max(0, counts[g] - length);
    counts[g] = std::min(counts[g], length);
  }
  for (; surplus > 0; surplus--) {
    int to = -1;
    for (int g = 0; g < heads; g++) {
      if (counts[g] + extra[g] == static_cast<int>(lanes[g].scores.size())) continue;
      if (to < 0 || extra[g] < extra[to]) to = g;
    }
    extra[to]++;
  }
  for (int g = 0; g < heads; g++) counts[g] += extra[g];
  return counts;
}

TEST(AllocatorTest, AdaptiveIsAdaKv) {
  std::mt19937 random(7);
  for (const char* alpha : {"0", "0.2", "0.5", "1"}) {
    const auto adaptive = make(adaptive_allocator(), "alpha", alpha);
    for (int round = 0; round < 400; round++) {
      const int kv_heads = 1 + static_cast<int>(random() % 5);
      const auto lanes = random_lanes(random, 1, kv_heads, 30, round % 2 ? 4 : 1000);
      const int budget = static_cast<int>(random() % (total(lanes) + 1));
      ASSERT_EQ(adaptive->allocate(lanes, kv_heads, budget),
                ada_kv_reference(lanes, budget, std::stod(alpha)))
          << "alpha " << alpha << ", budget " << budget;
    }
  }
}

TEST(AllocatorTest, AdaptiveGivesLayersTheSame) {
  std::mt19937 random(9);
  auto lanes = random_lanes(random, 3, 2, 0, 1);
  for (Candidates& lane : lanes) {
    lane.scores.resize(40);
    for (float& s : lane.scores)
      s = static_cast<float>(random() % 1000) + 1000.0F * static_cast<float>(lane.layer);
  }
  const auto counts = make(adaptive_allocator())->allocate(lanes, 2, 90);
  for (int layer = 0; layer < 3; layer++) EXPECT_EQ(counts[2 * layer] + counts[2 * layer + 1], 30);
}

// A layer's lanes of `length`, scores of no importance.
std::vector<Candidates> even_lanes(int layers, int kv_heads, int length) {
  std::vector<Candidates> lanes;
  for (int i = 0; i < layers * kv_heads; i++) {
    lanes.push_back({i / kv_heads, i % kv_heads, std::vector<float>(length)});
  }
  return lanes;
}

TEST(AllocatorTest, PyramidFallsLinearly) {
  const auto lanes = even_lanes(5, 2, 1000);
  // Mean 200 a layer: 2 - 1/beta times that at the bottom, 1/beta times at the top.
  EXPECT_EQ(make(pyramid_allocator(), "beta", "20")->allocate(lanes, 2, 1000),
            (std::vector<int>{195, 195, 148, 147, 100, 100, 53, 52, 5, 5}));
  EXPECT_EQ(make(pyramid_allocator(), "beta", "1")->allocate(lanes, 2, 1000), std::vector<int>(10, 100));
  EXPECT_EQ(make(pyramid_allocator())->allocate(even_lanes(1, 2, 1000), 2, 100), (std::vector<int>{50, 50}));
}

// kvpress's clamp: 2 - 1/20 times 700 does not fit into 1000, so the line runs from 1000 to 400.
TEST(AllocatorTest, PyramidKeepsItsMeanWhereTheBottomIsFull) {
  EXPECT_EQ(make(pyramid_allocator())->allocate(even_lanes(3, 1, 1000), 1, 2100),
            (std::vector<int>{1000, 700, 400}));
}

// By the definition: sort everything, take what the floor asks for, then the best of the rest.
std::vector<int> global_reference(std::span<const Candidates> lanes, int floor, int budget) {
  std::vector<std::tuple<float, int, int>> all;  // (-score, lane, position)
  std::vector<int> counts(lanes.size());
  for (int i = 0; i < static_cast<int>(lanes.size()); i++) {
    auto scores = lanes[i].scores;
    std::sort(scores.begin(), scores.end(), std::greater<>());
    for (int j = 0; j < static_cast<int>(scores.size()); j++) {
      if (j < floor) {
        counts[i]++;
        budget--;
      } else {
        all.emplace_back(-scores[j], i, j);
      }
    }
  }
  std::sort(all.begin(), all.end());
  for (int i = 0; i < std::min(budget, static_cast<int>(all.size())); i++) counts[std::get<1>(all[i])]++;
  return counts;
}

TEST(AllocatorTest, GlobalIsOneTopKAboveAFloorALane) {
  std::mt19937 random(11);
  for (const int floor : {0, 1, 4}) {
    const auto global = make(global_allocator(), "floor", std::to_string(floor).c_str());
    for (int round = 0; round < 300; round++) {
      const auto lanes = random_lanes(random, 3, 2, 30, round % 2 ? 4 : 1000);
      const int budget = 6 * floor + static_cast<int>(random() % (total(lanes) + 1));
      ASSERT_EQ(global->allocate(lanes, 2, budget), global_reference(lanes, floor, budget)) << budget;
    }
  }
}

TEST(AllocatorTest, GlobalSharesABudgetBelowTheFloors) {
  EXPECT_EQ(make(global_allocator(), "floor", "10")->allocate(even_lanes(2, 2, 8), 2, 6),
            (std::vector<int>{2, 2, 1, 1}));
}

TEST(AllocatorTest, LearnedFollowsTheSharesOfTheFile) {
  const std::string path = write_lkv({}, temporary_path("shares.lkv.gguf"));
  const auto lkv = Lkv::load(path);
  const auto learned = make(learned_allocator(), "file", path.c_str());
  const auto counts = learned->allocate(even_lanes(2, 2, 100000), 2, 100000);
  for (int i = 0; i < 4; i++) EXPECT_NEAR(counts[i], 1e5 * lkv->share(i / 2, i % 2), 1);
  // A full lane's surplus goes to the others, by their shares.
  auto lanes = even_lanes(2, 2, 100000);
  lanes[0].scores.resize(3);
  const auto capped = learned->allocate(lanes, 2, 50003);
  EXPECT_EQ(capped[0], 3);
  for (int i = 1; i < 4; i++) {
    EXPECT_NEAR(capped[i], 5e4 * lkv->share(i / 2, i % 2) / (1 - lkv->share(0, 0)), 1);
  }
}

}  // namespace
}  // namespace kvedit
