#include "model/lkv_writer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <random>

#include "cache/cache_testing.h"
#include "model/lkv.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

class LkvWriterTest : public testing::TestWithParam<int> {
 protected:
  LkvWriterTest() : network_(Network::load(write_tiny_model({}, temporary_path("writer.gguf")))) {
    const Hparams& h = network_->hparams();
    const size_t lanes = static_cast<size_t>(h.layers) * h.kv_heads;
    const size_t in = static_cast<size_t>(h.key_dim) + h.value_dim;
    const auto hidden = static_cast<size_t>(GetParam());
    contents_.hidden = GetParam();
    contents_.activation = Activation::gelu;
    contents_.budget_logits = numbers(lanes);
    contents_.hidden_weight = numbers(lanes * hidden * in);
    contents_.hidden_bias = numbers(lanes * hidden);
    contents_.score_weight = numbers(lanes * (hidden > 0 ? hidden : in));
    contents_.notes = {{"training.config", "{}"}};
  }
  std::vector<float> numbers(size_t n) {
    std::vector<float> all(n);
    for (float& x : all) x = normal_(random_);
    return all;
  }

  std::shared_ptr<const Network> network_;
  LkvContents contents_;
  std::mt19937 random_{5};
  std::normal_distribution<float> normal_;
};

TEST_P(LkvWriterTest, WhatIsWrittenIsRead) {
  const std::string path = temporary_path("written.lkv.gguf");
  save_lkv(contents_, *network_, path);
  const auto lkv = Lkv::load(path);
  lkv->check(*network_);
  EXPECT_EQ(lkv->activation(), Activation::gelu);
  std::vector<float> hidden_weight, hidden_bias, score_weight;
  for (int layer = 0; layer < network_->hparams().layers; layer++) {
    const LkvLayer& maps = lkv->layer(layer);
    EXPECT_EQ(maps.hidden, GetParam());
    hidden_weight.insert(hidden_weight.end(), maps.hidden_weight.begin(), maps.hidden_weight.end());
    hidden_bias.insert(hidden_bias.end(), maps.hidden_bias.begin(), maps.hidden_bias.end());
    score_weight.insert(score_weight.end(), maps.score_weight.begin(), maps.score_weight.end());
  }
  EXPECT_EQ(hidden_weight, contents_.hidden_weight);
  EXPECT_EQ(hidden_bias, contents_.hidden_bias);
  EXPECT_EQ(score_weight, contents_.score_weight);
  for (int lane = 1; lane < 4; lane++) {
    const double ratio = std::exp(double{contents_.budget_logits[lane]} - contents_.budget_logits[0]);
    EXPECT_NEAR(lkv->share(lane / 2, lane % 2) / lkv->share(0, 0), ratio, 1e-9 * ratio);
  }
  EXPECT_EQ(GgufFile(path).metadata().text("training.config"), "{}");
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
}

TEST_P(LkvWriterTest, RefusesWhatDoesNotFitAndLeavesTheOldFile) {
  const std::string path = temporary_path("kept.lkv.gguf");
  save_lkv(contents_, *network_, path);
  const auto refuses = [&](const LkvContents& contents, const std::string& to, ErrorCode code,
                           const char* part) {
    const auto [got, message] = error_of([&] { save_lkv(contents, *network_, to); });
    EXPECT_EQ(got, code) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  LkvContents other = contents_;
  other.budget_logits.pop_back();
  refuses(other, path, ErrorCode::invalid_argument, "budget_logits has 3 numbers, not 4");
  other = contents_;
  other.score_weight[2] = std::numeric_limits<float>::infinity();
  refuses(other, path, ErrorCode::invalid_argument, "score_weight has inf at 2");
  refuses(contents_, "no/such/folder/x.lkv.gguf", ErrorCode::io, "no/such/folder");
  Lkv::load(path)->check(*network_);
}

INSTANTIATE_TEST_SUITE_P(, LkvWriterTest, testing::Values(0, 7));

}  // namespace
}  // namespace kvedit
