// The soft top-k against differences, and against the hard one as the temperature falls.
#include "train/lkv_selection.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

#include <functional>
#include <numeric>
#include <random>

#include "evict/allocators/shares.h"

namespace kvedit::train {
namespace {

using torch::Tensor;

torch::TensorOptions doubles() { return torch::TensorOptions(torch::kDouble); }

// d f / d x by central differences, x in double.
Tensor differences(const std::function<Tensor(const Tensor&)>& f, const Tensor& x) {
  const torch::NoGradGuard constants;
  constexpr double kStep = 1e-5;
  Tensor all = torch::zeros_like(x);
  for (int64_t i = 0; i < x.numel(); i++) {
    Tensor up = x.detach().clone(), down = up.clone();
    up.view(-1)[i] += kStep;
    down.view(-1)[i] -= kStep;
    all.view(-1)[i] = (f(up) - f(down)) / (2 * kStep);
  }
  return all;
}

TEST(SoftTopKTest, KeepsAsManyAsItsCount) {
  torch::manual_seed(1);
  const Tensor scores = torch::randn({4, 50}, doubles()) * 3;
  const Tensor counts = torch::tensor({0.5, 7.0, 33.25, 49.5}, doubles());
  for (const double temperature : {2.0, 0.3, 0.01}) {
    const Tensor kept = soft_keep(scores, counts, temperature).exp().sum(1);
    EXPECT_TRUE(torch::allclose(kept, counts, 1e-9, 1e-7)) << kept << counts;
  }
}

TEST(SoftTopKTest, AFullLaneKeepsEverything) {
  Tensor scores = torch::randn({2, 9}, doubles()).set_requires_grad(true);
  Tensor counts = torch::tensor({9.0, 4.0}, doubles()).set_requires_grad(true);
  const Tensor logs = soft_keep(scores, counts, 0.5);
  EXPECT_TRUE(torch::equal(logs[0], torch::zeros(9, doubles())));
  logs.square().sum().backward();
  EXPECT_EQ(scores.grad()[0].abs().sum().item<double>(), 0);
  EXPECT_TRUE(torch::isfinite(scores.grad()).all().item<bool>());
  EXPECT_EQ(counts.grad()[0].item<double>(), 0);
  EXPECT_NE(counts.grad()[1].item<double>(), 0);
}

TEST(SoftTopKTest, IsTheHardOneAtTemperatureZero) {
  torch::manual_seed(2);
  const Tensor scores = torch::randn({3, 200});
  const Tensor counts = torch::tensor({20.0F, 100.0F, 1.0F});
  const Tensor kept = soft_keep(scores, counts, 1e-5).exp() > 0.5;
  for (int64_t lane = 0; lane < 3; lane++) {
    const Tensor highest = std::get<1>(scores[lane].topk(counts[lane].item<int64_t>()));
    EXPECT_EQ(kept[lane].sum().item<int64_t>(), highest.numel());
    EXPECT_TRUE(kept[lane].index_select(0, highest).all().item<bool>());
  }
}

// Any function of the log-probabilities will do: a random linear one.
TEST(SoftTopKTest, GradientsOfScoresAndCountsAreDifferences) {
  torch::manual_seed(3);
  const Tensor weights = torch::randn({3, 12}, doubles());
  Tensor scores = torch::randn({3, 12}, doubles()).set_requires_grad(true);
  Tensor counts = torch::tensor({0.3, 5.0, 11.5}, doubles()).set_requires_grad(true);
  for (const double temperature : {1.0, 0.2}) {
    const auto loss = [&](const Tensor& s, const Tensor& k) {
      return (soft_keep(s, k, temperature) * weights).sum();
    };
    scores.mutable_grad() = Tensor();
    counts.mutable_grad() = Tensor();
    loss(scores, counts).backward();
    EXPECT_TRUE(torch::allclose(
        scores.grad(), differences([&](const Tensor& s) { return loss(s, counts); }, scores), 1e-4, 1e-5));
    EXPECT_TRUE(torch::allclose(
        counts.grad(), differences([&](const Tensor& k) { return loss(scores, k); }, counts), 1e-4, 1e-5));
    EXPECT_GT(counts.grad().abs().min().item<double>(), 1e-3) << "a detached threshold";
  }
}

TEST(LearnedCountsTest, AreTheServedOnesWithoutRounding) {
  std::mt19937 random(4);
  std::uniform_int_distribution<size_t> lengths(0, 60);
  for (int trial = 0; trial < 200; trial++) {
    std::vector<size_t> room(9);
    for (size_t& r : room) r = lengths(random);
    const size_t all = std::accumulate(room.begin(), room.end(), size_t{0});
    const Tensor logits = torch::randn({9}, doubles()) * 2;
    const Tensor shares = logits.softmax(0);
    const size_t budget = random() % (all + 10);
    const auto served = in_proportion({shares.data_ptr<double>(), 9}, room, budget);
    const Tensor counts = learned_counts(logits, {room.begin(), room.end()}, static_cast<double>(budget));
    EXPECT_NEAR(counts.sum().item<double>(), static_cast<double>(std::min(budget, all)), 1e-6);
    for (int i = 0; i < 9; i++)
      EXPECT_LT(std::abs(counts[i].item<double>() - static_cast<double>(served[i])), 1) << i;
  }
}

TEST(LearnedCountsTest, GradientsAreDifferencesAlsoWhereLanesAreFull) {
  const std::vector<double> room = {3, 20, 20, 5, 20};
  Tensor logits = torch::tensor({0.5, 0.1, -0.4, 1.2, 0.3}, doubles()).set_requires_grad(true);
  const Tensor weights = torch::tensor({1.0, -2.0, 0.5, 3.0, 0.7}, doubles());
  const auto loss = [&](const Tensor& l) { return (learned_counts(l, room, 30) * weights).sum(); };
  const Tensor counts = learned_counts(logits, room, 30);
  ASSERT_EQ(counts[0].item<double>(), 3);
  ASSERT_EQ(counts[3].item<double>(), 5);
  loss(logits).backward();
  EXPECT_TRUE(torch::allclose(logits.grad(), differences(loss, logits), 1e-5, 1e-7));
  EXPECT_GT(logits.grad().abs().max().item<double>(), 0.1);
}

}  // namespace
}  // namespace kvedit::train
