// Learned eviction as it is trained, against what the engine serves.
#include "model/lkv.h"

#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/utils.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "evict/policy.h"
#include "session_testing.h"
#include "tools/text.h"
#include "train/lkv_loss.h"

namespace kvedit::train {
namespace {

constexpr int kContext = 200, kAfter = 24;

// Tiny models whose numbers are exact, so that training and serving can be compared to rounding.
class LkvTrainingTest : public testing::TestWithParam<const char*> {
 protected:
  LkvTrainingTest()
      : model_(load(spec_of(GetParam()), exact_options())),
        served_(implementation(*model_)),
        weights_(load_weights(served_->shared_network())) {
    for (unsigned i = 0; i < 4; i++) {
      const auto tokens = random_tokens(kContext + kAfter, i + 1);
      texts_.push_back(
          {"text", {tokens.begin(), tokens.begin() + kContext}, {tokens.begin() + kContext, tokens.end()}});
      examples_.push_back(read_example(*served_, texts_.back(), {"laprox:window=8"}));
    }
    std::vector<Tensor> features;
    for (int layer = 0; layer < hparams().layers; layer++)
      features.push_back(lkv_features(examples_[0].entries[layer], (*hparams().ropes)[layer]));
    lkv_ = new_lkv(features, 6, 1);
    const torch::NoGradGuard constants;
    lkv_.budgets.copy_(torch::linspace(-0.5, 0.5, lkv_.budgets.numel()));
  }

  const Hparams& hparams() const { return served_->network().hparams(); }
  std::string write(const std::string& name) const {
    const std::string path = temporary_path(cat(GetParam(), ".", name, ".lkv.gguf"));
    save_lkv(lkv_contents(lkv_), served_->network(), path);
    return path;
  }
  std::vector<Tensor> scores(const LkvExample& example) const {
    std::vector<Tensor> all;
    for (int layer = 0; layer < hparams().layers; layer++)
      all.push_back(lkv_scores(lkv_, layer, lkv_features(example.entries[layer], (*hparams().ropes)[layer])));
    return all;
  }
  // The context's cache as it stands when it is evicted.
  Cache cache_of_example(size_t i, const CaptureRequest& record, Captures& captures,
                         std::vector<Position>& positions) const {
    const auto tokens = std::span(texts_[i].context).first(kContext - 1);
    Cache cache = served_->new_cache();
    positions.resize(tokens.size());
    std::iota(positions.begin(), positions.end(), 0);
    cache.append(positions);
    const kvedit::Run run{
        .cache = &cache, .tokens = tokens, .positions = positions, .captures = &captures, .record = record};
    (*ModelImpl::Lease(*served_)).forward({&run, 1});
    return cache;
  }
  std::vector<std::vector<int>> selected(size_t i, const std::string& policy, double share) const {
    Captures captures;
    std::vector<Position> positions;
    const Policy made = make_policy(policy);
    const Cache cache = cache_of_example(i, made.needs(), captures, positions);
    const auto captured = [&](const CaptureRequest&) { return captures; };
    return choose_entries(made, cache, served_->network(), captured,
                          std::span(positions).last(captures.tokens), Budget::fraction(share), {});
  }
  // Mean over the examples, with hard selection, through the session.
  double served_kl(const std::string& policy, double share) const {
    double sum = 0;
    for (const LkvText& text : texts_) {
      Session session(model_);
      session.append_tokens(text.context);
      const auto next = std::span(text.continuation).first(text.continuation.size() - 1);
      const std::vector<float> full = session.logits_after(next);
      session.evict(policy, Budget::fraction(share));
      sum += divergence(full, session.logits_after(next), hparams().vocabulary).mean;
    }
    return sum / static_cast<double>(texts_.size());
  }

  std::shared_ptr<Model> model_;
  std::shared_ptr<ModelImpl> served_;
  Weights weights_;
  std::vector<LkvText> texts_;
  std::vector<LkvExample> examples_;
  LkvTensors lkv_;
};

TEST_P(LkvTrainingTest, ScoresAreTheServedOnes) {
  const std::string path = write("scores");
  const Policy policy = make_policy("lkv:file=" + path);
  Captures captures;
  std::vector<Position> positions;
  const Cache cache = cache_of_example(0, {}, captures, positions);
  const std::vector<Tensor> ours = scores(examples_[0]);
  for (int layer = 0; layer < hparams().layers; layer++) {
    const LayerScores served = policy.scorer->score({layer, cache, served_->network(), captures});
    for (int head = 0; head < hparams().kv_heads; head++) {
      for (int j = 0; j < kContext - 1; j++)
        ASSERT_NEAR(ours[layer][head][j].item<float>(), served[head][j], 1e-4)
            << layer << " " << head << " " << j;
    }
  }
}

TEST_P(LkvTrainingTest, SoftSelectionBecomesTheServedOne) {
  const Keep keep{0.4, 3, 8};
  const std::string path = write("selection");
  const auto served = selected(0, cat("lkv:sinks=3,recent=8,file=", path), keep.share);
  const torch::NoGradGuard constants;
  const auto soft = soft_selection(hparams(), scores(examples_[0]), lkv_.budget_logits(), keep, 1e-5);
  double kept = 0;
  for (size_t lane = 0; lane < served.size(); lane++) {
    const Tensor m = soft[lane / hparams().kv_heads][static_cast<int64_t>(lane) % hparams().kv_heads].exp();
    kept += m.sum().item<double>();
    // A learned count is no whole number: of the entry at the border a part is kept.
    int differences = 0;
    std::vector<bool> hard(m.numel());
    for (const int entry : served[lane]) hard[entry] = true;
    const auto window = hparams().window_of(static_cast<int>(lane) / hparams().kv_heads);
    for (int64_t j = window > 0 ? m.numel() + 1 - window : 0; j < m.numel(); j++)
      differences += std::abs(m[j].item<double>() - (hard[j] ? 1 : 0)) > 1e-3;
    EXPECT_LE(differences, 1) << "lane " << lane;
  }
  size_t reachable = 0, hard_kept = 0;
  for (int layer = 0; layer < hparams().layers; layer++) {
    const Candidates c = candidates(hparams(), kContext - 1, keep)[layer];
    reachable += hparams().kv_heads * (kContext - 1 - c.reach);
    kept -= static_cast<double>(hparams().kv_heads * c.reach);  // bias 0, seen by nobody
  }
  for (const auto& lane : served) hard_kept += lane.size();
  EXPECT_EQ(hard_kept, static_cast<size_t>(keep.share * static_cast<double>(reachable) + 1e-6));
  EXPECT_NEAR(kept, static_cast<double>(hard_kept), 0.02);
}

// With what the engine selects as a bias of 0 or -inf, the loss is the served KL.
TEST_P(LkvTrainingTest, LossOfAHardSelectionIsTheServedKl) {
  const std::string policy = cat("lkv:sinks=3,recent=8,file=", write("loss"));
  const torch::NoGradGuard constants;
  double sum = 0;
  for (size_t i = 0; i < texts_.size(); i++) {
    const auto served = selected(i, policy, 0.3);
    Entries entries = examples_[i].entries;
    for (int layer = 0; layer < hparams().layers; layer++) {
      Tensor bias = torch::full({hparams().kv_heads, kContext - 1}, -std::numeric_limits<float>::infinity());
      for (int head = 0; head < hparams().kv_heads; head++) {
        for (const int entry : served[layer * hparams().kv_heads + head]) bias[head][entry] = 0;
      }
      entries[layer].bias = bias;
    }
    const Entries* const context[] = {&entries};
    const Tensor hidden = forward(weights_, examples_[i].batch, context).hidden;
    sum += mean_kl(examples_[i].full, logits(weights_, hidden)).item<double>();
  }
  EXPECT_NEAR(sum / 4, served_kl(policy, 0.3), 1e-3 * sum / 4);
}

// Along random directions, for budgets alone and for the map alone.
TEST_P(LkvTrainingTest, GradientsAreDifferences) {
  const auto loss = [&] { return distillation_loss(weights_, lkv_, {}, examples_[0], {0.3, 3, 8}, 0.5); };
  loss().backward();
  const torch::NoGradGuard constants;
  torch::manual_seed(2);
  for (Tensor& parameter : lkv_.parameters()) {
    const Tensor direction = torch::randn_like(parameter);
    const double slope = (parameter.grad() * direction).sum().item<double>();
    EXPECT_GT(parameter.grad().abs().max().item<double>(), 1e-4) << "no gradient";
    const double step = 2e-2 / direction.norm().item<double>();
    parameter.add_(direction, step);
    const double up = loss().item<double>();
    parameter.add_(direction, -2 * step);
    const double down = loss().item<double>();
    parameter.add_(direction, step);
    EXPECT_NEAR(slope, (up - down) / (2 * step), 0.05 * std::abs(slope) + 5e-4);
  }
}

TEST_P(LkvTrainingTest, LearnsWhatToKeepOfFourExamples) {
  torch::optim::AdamW optimiser(lkv_.parameters(), torch::optim::AdamWOptions(0.03).weight_decay(0));
  constexpr int kSteps = 40;
  for (int step = 0; step < kSteps; step++) {
    optimiser.zero_grad();
    for (const LkvExample& example : examples_)
      distillation_loss(weights_, lkv_, {}, example, {0.25, 3, 8}, 0.5 * std::pow(0.1, step / double{kSteps}))
          .backward();
    optimiser.step();
  }
  const double learned = served_kl(cat("lkv:sinks=3,recent=8,file=", write("learned")), 0.25);
  EXPECT_LT(learned, served_kl("snapkv:sinks=3,recent=8,window=8", 0.25));
  EXPECT_LT(learned, served_kl("random:sinks=3,recent=8", 0.25));
}

// An ablation: the lanes' shares are learned, LaProx says which of their entries.
TEST_P(LkvTrainingTest, LearnsBudgetsForOtherScores) {
  const auto loss = [&] {
    Tensor sum = torch::zeros({});
    for (const LkvExample& example : examples_)
      sum = sum + distillation_loss(weights_, lkv_, {.scores = false}, example, {0.25, 3, 8}, 0.1);
    return sum;
  };
  const double before = loss().item<double>();
  torch::optim::AdamW optimiser({lkv_.budgets}, torch::optim::AdamWOptions(0.02).weight_decay(0));
  for (int step = 0; step < 15; step++) {
    optimiser.zero_grad();
    loss().backward();
    optimiser.step();
  }
  EXPECT_FALSE(lkv_.score_weight.grad().defined());
  EXPECT_LT(loss().item<double>(), before);
}

// To imitate the oracle is a start: shares and ranks follow its scores.
TEST_P(LkvTrainingTest, ImitatesAnOracle) {
  std::vector<LkvExample> of_future;
  for (const LkvText& text : texts_)
    of_future.push_back(read_example(*served_, text, {"laprox-joint:kernel=1", true}));
  const auto loss = [&](const LkvParts& parts) {
    Tensor sum = torch::zeros({});
    for (const LkvExample& example : of_future)
      sum = sum + imitation_loss(hparams(), lkv_, parts, example, {0.25, 3, 8}) / 4;
    return sum;
  };
  const auto value = [&](const LkvParts& parts) { return loss(parts).item<double>(); };
  const double scores_before = value({.budgets = false}), budgets_before = value({.scores = false});
  torch::optim::AdamW optimiser(lkv_.parameters(), torch::optim::AdamWOptions(0.02).weight_decay(0));
  for (int step = 0; step < 60; step++) {
    optimiser.zero_grad();
    loss({}).backward();
    optimiser.step();
  }
  EXPECT_LT(value({.budgets = false}), 0.8 * scores_before);
  EXPECT_LT(value({.scores = false}), budgets_before);
}

INSTANTIATE_TEST_SUITE_P(, LkvTrainingTest, testing::Values("llama", "gemma3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace kvedit::train
