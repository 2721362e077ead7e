// The training model against the engine, and its gradients against differences.
#include "train/transformer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <ostream>
#include <random>

#include "compute/engine.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

namespace kvedit::train {
namespace {

struct Case {
  std::string name;
  TinySpec spec;
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* architecture : {"llama", "qwen2", "qwen3", "gemma3"}) {
    all.push_back({architecture, {.architecture = architecture, .layers = 4}});
    if (all.back().name == "gemma3") all.back().spec.window = 24;
  }
  all.push_back({"llama_factors", {.layers = 2, .tied = false, .rope_factors = true}});
  all.push_back(
      {"qwen2_yarn",
       {.architecture = "qwen2", .rope_scaling = "yarn", .rope_factor = 4, .rope_original_context = 128}});
  all.push_back({"llama_q8", {.layers = 2, .weight_type = GGML_TYPE_Q8_0}});
  return all;
}

class TransformerTest : public testing::TestWithParam<Case> {
 protected:
  TransformerTest() {
    const Case& test = GetParam();
    network_ = Network::load(write_tiny_model(test.spec, temporary_path(test.name + ".gguf")));
    const Hparams& h = network_->hparams();
    pool_ = PagePool::create({h.key_dim, h.value_dim, ElementType::f32});
    engine_ = std::make_unique<Engine>(network_, 1, LinearKernel::f32, 64);
    weights_ = load_weights(network_);
    positions_.resize(kTokens);
    std::iota(positions_.begin(), positions_.end(), 0);
    std::mt19937 random(7);
    for (int i = 0; i < kTokens; i++) tokens_.push_back(static_cast<Token>(random() % 300));
  }

  Cache empty() const {
    const Hparams& h = network_->hparams();
    return {pool_, h.layers, h.kv_heads, h.ropes};
  }
  // Logits of tokens [begin, end), appended to the cache.
  std::vector<float> read(Cache& cache, int begin, int end, std::shared_ptr<const Lora> adapter = nullptr) {
    const auto at = std::span(positions_).subspan(begin, end - begin);
    cache.append(at);
    kvedit::Run run{&cache, std::span(tokens_).subspan(begin, end - begin), at, Logits::all};
    run.adapter = std::move(adapter);
    return engine_->forward({&run, 1})[0];
  }
  Batch batch(int begin, int end) const {
    return make_batch(std::span(tokens_).subspan(begin, end - begin),
                      std::span(positions_).subspan(begin, end - begin));
  }
  std::shared_ptr<const Lora> adapter() const {
    return Lora::load(write_lora_gguf(*network_, {}, temporary_path(GetParam().name + ".lora.gguf")),
                      *network_);
  }
  // Largest difference as a share of the largest logit.
  void expect_equal(const Tensor& ours, std::span<const float> engine) const {
    ASSERT_EQ(ours.numel(), static_cast<int64_t>(engine.size()));
    const Tensor theirs = torch::from_blob(const_cast<float*>(engine.data()), ours.sizes());
    EXPECT_LT(((ours - theirs).abs().max() / theirs.abs().max()).item<float>(), 1e-4F);
  }

  static constexpr int kTokens = 120;
  std::shared_ptr<const Network> network_;
  std::shared_ptr<PagePool> pool_;
  std::unique_ptr<Engine> engine_;
  Weights weights_;
  std::vector<Token> tokens_;
  std::vector<Position> positions_;
};

TEST_P(TransformerTest, LogitsAreTheEngines) {
  Cache cache = empty();
  const std::vector<float> engine = read(cache, 0, kTokens);
  expect_equal(logits(weights_, forward(weights_, batch(0, kTokens), {}).hidden), engine);
}

TEST_P(TransformerTest, LogitsAreTheEnginesWithAnAdapter) {
  Cache cache = empty();
  const std::vector<float> engine = read(cache, 0, kTokens, adapter());
  const LoraTensors lora = lora_tensors(*adapter());
  expect_equal(logits(weights_, forward(weights_, batch(0, kTokens), {}, {.lora = &lora}).hidden), engine);
}

TEST_P(TransformerTest, ReadsAnEnginesCacheInSegments) {
  Cache cache = empty();
  read(cache, 0, 80);
  const Entries first = entries_of(cache, {0, 30});
  const Entries second = entries_of(cache, {30, 80});
  const Entries* const context[] = {&first, &second};
  const Tensor ours = logits(weights_, forward(weights_, batch(80, kTokens), context).hidden);
  expect_equal(ours, read(cache, 80, kTokens));
}

TEST_P(TransformerTest, ReadsItsOwnEntries) {
  const Entries own = forward(weights_, batch(0, 80), {}, {.entries_only = true}).entries;
  const Entries* const context[] = {&own};
  Cache cache = empty();
  read(cache, 0, 80);
  expect_equal(logits(weights_, forward(weights_, batch(80, kTokens), context).hidden),
               read(cache, 80, kTokens));
}

TEST_P(TransformerTest, ReadsAnEditedCache) {
  Cache cache = empty();
  read(cache, 0, 80);
  cache.remove({20, 33});
  std::mt19937 random(3);
  for (int layer = 0; layer < cache.layers(); layer++) {  // as an eviction leaves it: other entries a head
    for (int head = 0; head < cache.kv_heads(); head++) {
      std::vector<int> kept;
      for (int i = 0; i < cache.lane(layer, head).size(); i++) {
        if (random() % 2 == 0) kept.push_back(i);
      }
      cache.keep(layer, head, kept);
    }
  }
  const Entries entries = entries_of(cache, {0, 80});
  const Entries* const context[] = {&entries};
  const Tensor ours = logits(weights_, forward(weights_, batch(80, kTokens), context).hidden);
  expect_equal(ours, read(cache, 80, kTokens));
}

TEST_P(TransformerTest, ASteeredSpanIsTheEngines) {
  Cache cache = empty();
  read(cache, 0, 80);
  const Entries prefix = entries_of(cache, {0, 20});
  const Entries suffix = entries_of(cache, {40, 80});
  const auto span = std::span(positions_).subspan(20, 20);
  cache.overwrite(span);
  kvedit::Run run{&cache, std::span(tokens_).subspan(20, 20), span};
  run.adapter = adapter();
  engine_->forward({&run, 1});

  const LoraTensors lora = lora_tensors(*adapter());
  const Entries* const before[] = {&prefix};
  const Entries steered =
      forward(weights_, batch(20, 40), before, {.lora = &lora, .entries_only = true}).entries;
  const Entries* const context[] = {&prefix, &steered, &suffix};
  const Tensor ours = logits(weights_, forward(weights_, batch(80, kTokens), context).hidden);
  expect_equal(ours, read(cache, 80, kTokens));
}

TEST_P(TransformerTest, OwnersDoNotSeeEachOther) {
  Cache cache = empty();
  read(cache, 0, 60);
  const Entries prefix = entries_of(cache, {0, 60});
  const Entries* const context[] = {&prefix};
  Batch packed = batch(60, 100);  // 20 tokens twice at the same positions
  packed.owners = torch::cat({torch::zeros(20, torch::kInt64), torch::ones(20, torch::kInt64)});
  packed.positions = torch::cat({packed.positions.narrow(0, 0, 20), packed.positions.narrow(0, 0, 20)});
  const Tensor both = logits(weights_, forward(weights_, packed, context).hidden);
  Cache fork = cache.fork();
  expect_equal(both.narrow(0, 0, 20), read(cache, 60, 80));
  const auto at = std::span(positions_).subspan(60, 20);
  fork.append(at);
  const kvedit::Run run{&fork, std::span(tokens_).subspan(80, 20), at, Logits::all};
  expect_equal(both.narrow(0, 20, 20), engine_->forward({&run, 1})[0]);
}

TEST_P(TransformerTest, RotationIsTakenBack) {
  const Rope& rope = network_->hparams().ropes->back();
  const Tensor x = torch::randn({2, 5, network_->hparams().key_dim});
  const Tensor at = torch::arange(40, 45, torch::kInt64);
  EXPECT_TRUE(torch::allclose(rotate(rotate(x, at, rope), at, rope, true), x, 1e-4, 1e-5));
}

// Along random directions, in the parameters of the adapter, in cached entries and in their bias.
TEST_P(TransformerTest, GradientsAreDifferences) {
  Cache cache = empty();
  read(cache, 0, 60);
  Entries prefix = entries_of(cache, {0, 30});
  const Entries suffix = entries_of(cache, {40, 60});
  LoraTensors lora = lora_tensors(*adapter());
  std::vector<Tensor> leaves = lora.parameters();
  for (LayerEntries& layer : prefix) {
    layer.bias = torch::zeros({network_->hparams().kv_heads, 30});
    leaves.insert(leaves.end(), {layer.keys, layer.values, layer.bias});
  }
  for (Tensor& leaf : leaves) leaf.set_requires_grad(true);
  const auto loss = [&] {
    const Entries* const before[] = {&prefix};
    const Entries steered =
        forward(weights_, batch(30, 40), before, {.lora = &lora, .entries_only = true}).entries;
    const Entries* const context[] = {&prefix, &steered, &suffix};
    const Tensor hidden = forward(weights_, batch(60, 70), context).hidden;
    return torch::log_softmax(logits(weights_, hidden), -1).select(1, 5).mean();
  };
  loss().backward();
  const torch::NoGradGuard no_grad;
  torch::manual_seed(3);
  for (const size_t kind : {size_t{0}, lora.parameters().size(), lora.parameters().size() + 2}) {
    double slope = 0;
    std::vector<Tensor> directions;
    for (size_t i = 0; i < leaves.size(); i++) {
      const bool chosen = kind == 0 ? i < lora.parameters().size() : i >= kind && (i - kind) % 3 == 0;
      directions.push_back(chosen ? torch::randn_like(leaves[i]) : Tensor());
      if (chosen && leaves[i].grad().defined())  // the last layer's queries reach no entry
        slope += (leaves[i].grad() * directions[i]).sum().item<double>();
    }
    constexpr double kStep = 1e-3;
    const auto moved = [&](double step) {
      for (size_t i = 0; i < leaves.size(); i++) {
        if (directions[i].defined()) leaves[i].add_(directions[i], step);
      }
      const double value = loss().item<double>();
      for (size_t i = 0; i < leaves.size(); i++) {
        if (directions[i].defined()) leaves[i].add_(directions[i], -step);
      }
      return value;
    };
    const double difference = (moved(kStep) - moved(-kStep)) / (2 * kStep);
    EXPECT_NEAR(slope, difference, 0.02 * std::abs(slope) + 2e-3) << "kind " << kind;
    EXPECT_GT(std::abs(slope), 1e-3) << "kind " << kind;
  }
}

INSTANTIATE_TEST_SUITE_P(, TransformerTest, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace kvedit::train
