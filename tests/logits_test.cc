// Logits against libllama: the same file, the same tokens.
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "compute/engine.h"
#include "model/tokenizer.h"
#include "peer.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

std::vector<float> our_logits(const std::string& path, std::span<const Token> tokens, LinearKernel kernel,
                              ElementType type, int block = 512) {
  const auto network = Network::load(path);
  const Hparams& h = network->hparams();
  Engine engine(network, 2, kernel, block);
  Cache cache(PagePool::create({h.key_dim, h.value_dim, type}), h.layers, h.kv_heads, h.ropes);
  std::vector<Position> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), 0);
  cache.append(positions);
  const Run run{&cache, tokens, positions, Logits::all, nullptr};
  return engine.forward({&run, 1})[0];
}

std::vector<Token> tokens_below(int vocabulary, int n) {
  std::mt19937 random(11);
  std::vector<Token> tokens(n);
  for (Token& t : tokens) t = static_cast<Token>(random() % vocabulary);
  return tokens;
}

std::vector<Token> prose_tokens(const std::string& path, size_t n) {
  std::vector<Token> tokens = Tokenizer(path).encode(prose(2 * n, 5), false, true);
  tokens.resize(n);
  return tokens;
}

class TinyLogitsTest : public testing::TestWithParam<TinySpec> {};

// f32 throughout on both sides: what differs is the order of sums and the last digits of angles.
TEST_P(TinyLogitsTest, AgreeWithLibllama) {
  const TinySpec& spec = GetParam();
  const std::string path = write_tiny_model(spec, temporary_path("tiny.gguf"));
  const std::vector<Token> tokens = tokens_below(spec.vocabulary, 200);
  const Peer peer(path);
  const std::vector<float> theirs = peer.logits(tokens);
  for (const int block : {512, 37, 1}) {
    const std::vector<float> ours = our_logits(path, tokens, LinearKernel::f32, ElementType::f32, block);
    const Divergence d = divergence(theirs, ours, spec.vocabulary);
    EXPECT_LT(d.relative, 1e-3) << spec.architecture << ", blocks of " << block << ": " << d;
  }
}

std::vector<TinySpec> tiny_specs() {
  TinySpec llama;
  TinySpec llama_gqa{.heads = 6, .kv_heads = 2, .key_dim = 32};
  TinySpec llama_factors{.rope_factors = true};
  TinySpec untied{.heads = 4, .kv_heads = 4, .tied = false};
  TinySpec linear{.rope_scaling = "linear", .rope_factor = 4};
  TinySpec yarn{.rope_scaling = "yarn", .rope_factor = 4, .rope_original_context = 128};
  TinySpec qwen2{.architecture = "qwen2"};
  TinySpec qwen2_yarn{
      .architecture = "qwen2", .rope_scaling = "yarn", .rope_factor = 2, .rope_original_context = 256};
  TinySpec qwen3{.architecture = "qwen3", .heads = 8, .kv_heads = 2, .key_dim = 32};
  TinySpec gemma3{
      .architecture = "gemma3", .layers = 4, .heads = 4, .kv_heads = 1, .key_dim = 32, .window = 16};
  TinySpec gemma3_full{.architecture = "gemma3", .window = 0};
  TinySpec gemma3_capped{.architecture = "gemma3", .logit_softcap = 4};  // some logits are beyond it
  // No multiples of a vector: OpenLLaMA-3B has heads of 100, h2o-danube3 of 120, stories260K of 8.
  TinySpec head_100{.heads = 4, .kv_heads = 2, .key_dim = 100};
  TinySpec head_120{.heads = 4, .kv_heads = 4, .key_dim = 120};
  TinySpec head_8{.heads = 8, .kv_heads = 4, .key_dim = 8};
  TinySpec head_20{.architecture = "qwen3", .heads = 4, .kv_heads = 1, .key_dim = 20};
  return {llama, llama_gqa, llama_factors, untied,        linear,   yarn,     qwen2,  qwen2_yarn,
          qwen3, gemma3,    gemma3_full,   gemma3_capped, head_100, head_120, head_8, head_20};
}

INSTANTIATE_TEST_SUITE_P(Architectures, TinyLogitsTest, testing::ValuesIn(tiny_specs()),
                         [](const auto& info) {
                           return info.param.architecture + "_" + std::to_string(info.index);
                         });

class RealLogitsTest : public testing::TestWithParam<RealModel> {
 protected:
  void SetUp() override {
    path_ = GetParam().path();
    if (path_.empty()) GTEST_SKIP() << "scripts/deps has not brought this model";
  }
  std::string path_;
};

// The exact path: weights dequantised on both sides.
TEST_P(RealLogitsTest, OfTheF32PathAgreeWithLibllamaOnDequantisedWeights) {
  const std::string dequantised = dequantize_model(path_, temporary_path("f32.gguf"));
  const std::vector<Token> tokens = prose_tokens(path_, 256);
  const Peer peer(dequantised);
  const Divergence d = divergence(
      peer.logits(tokens), our_logits(path_, tokens, LinearKernel::f32, ElementType::f32), peer.vocabulary());
  std::cout << d << "\n";
  EXPECT_LT(d.mean, 1e-5);
  EXPECT_GE(d.same_top, 0.995);
}

// Quantised kernels round the activations to 8 bits, which turns differences of 1e-7 into a KL of some
// 1e-3: libllama's own settings differ by as much. So: no further from libllama than it is from itself, and
// no further from the exact logits than libllama is with one of them.
TEST_P(RealLogitsTest, OfGgmlKernelsAreAsNearToLibllamaAsItsOwnSettingsAreToEachOther) {
  const Peer peer(path_);
  const int vocabulary = peer.vocabulary();
  // 1,024 tokens; 256 where a row of logits is a megabyte.
  const std::vector<Token> tokens = prose_tokens(path_, vocabulary > 100000 ? 256 : 1024);
  const std::vector<float> flash = peer.logits(tokens, {.flash_attention = true, .f32_cache = false});
  const std::vector<float> plain = peer.logits(tokens, {.flash_attention = false, .f32_cache = false});
  const Divergence noise = divergence(flash, plain, vocabulary);
  const std::vector<float> exact = our_logits(path_, tokens, LinearKernel::f32, ElementType::f32);
  const Divergence of_flash = divergence(exact, flash, vocabulary);
  const Divergence of_plain = divergence(exact, plain, vocabulary);
  const Divergence& theirs = of_flash.mean > of_plain.mean ? of_flash : of_plain;
  std::cout << "libllama, flash attention against without: " << noise
            << "\nlibllama against exact: " << theirs << "\n";
  for (const LinearKernel kernel : {LinearKernel::ggml, LinearKernel::int8_dense, LinearKernel::automatic}) {
    const std::vector<float> ours = our_logits(path_, tokens, kernel, ElementType::f16);
    const Divergence d = divergence(flash, ours, vocabulary);
    const Divergence mine = divergence(exact, ours, vocabulary);
    std::cout << "kernel " << static_cast<int>(kernel) << " against libllama: " << d
              << "\n  against exact: " << mine << "\n";
    EXPECT_LT(d.mean, 1.5 * noise.mean);
    EXPECT_LT(mine.mean, 1.25 * theirs.mean);
  }
}

// Prefill multiplies queries, keys, weights and values as integers of 12 to 15 bits where f16 would do.
TEST_P(RealLogitsTest, AttentionInIntegersIsAsGoodAsItsF16Cache) {
  const std::vector<Token> tokens = prose_tokens(path_, 512);
  const auto logits = [&](LinearKernel kernel, ElementType type) {
    return our_logits(path_, tokens, kernel, type);
  };
  const std::vector<float> exact = logits(LinearKernel::f32, ElementType::f32);
  const int vocabulary = Network::load(path_)->hparams().vocabulary;
  const Divergence of_f16 = divergence(exact, logits(LinearKernel::f32, ElementType::f16), vocabulary);
  const Divergence of_both = divergence(exact, logits(LinearKernel::f32_dense, ElementType::f16), vocabulary);
  std::cout << "f16 cache against exact: " << of_f16 << "\n  in integers: " << of_both << "\n";
  EXPECT_LT(of_both.mean, 4 * of_f16.mean + 1e-7);
  EXPECT_LT(of_both.mean, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Models, RealLogitsTest, testing::Values(kSmolLM2, kGemma3, kQwen),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace kvedit
