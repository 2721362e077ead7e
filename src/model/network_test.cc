#include "model/network.h"

#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "kvedit/error.h"
#include "model/gguf_file.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

using testing::TestWithParam;

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string write_all(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string tiny(const TinySpec& spec) { return write_tiny_model(spec, temporary_path("network.gguf")); }

/// That loading throws `code` with `part` in its message.
void expect_error(const std::string& path, ErrorCode code, const std::string& part) {
  try {
    Network::load(path);
    ADD_FAILURE() << "loaded, wanted an error with \"" << part << "\"";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

class NetworkOfEveryArchitecture : public TestWithParam<const char*> {};

TEST_P(NetworkOfEveryArchitecture, LoadsWithItsHyperParameters) {
  TinySpec spec{.architecture = GetParam(), .layers = 3};
  const auto network = Network::load(tiny(spec));
  const Hparams& h = network->hparams();
  EXPECT_EQ(h.architecture, GetParam());
  EXPECT_EQ(h.name, std::string("tiny ") + GetParam());
  EXPECT_EQ(h.layers, 3);
  EXPECT_EQ(h.d_model, 64);
  EXPECT_EQ(h.d_ff, 128);
  EXPECT_EQ(h.heads, 4);
  EXPECT_EQ(h.kv_heads, 2);
  EXPECT_EQ(h.group(), 2);
  EXPECT_EQ(h.key_dim, 16);
  EXPECT_EQ(h.value_dim, 16);
  EXPECT_EQ(h.vocabulary, 320);
  EXPECT_EQ(h.context_length, 512);
  EXPECT_FLOAT_EQ(h.norm_epsilon, 1e-5F);
  EXPECT_FLOAT_EQ(h.attention_scale, 0.25F);
  ASSERT_EQ(h.ropes->size(), 3U);
  EXPECT_EQ((*h.ropes)[0].dims(), 16);
  EXPECT_EQ((*h.ropes)[0].neox, h.architecture != "llama");
  EXPECT_EQ(h.activation, h.architecture == "gemma3" ? Activation::gelu : Activation::silu);
  EXPECT_FLOAT_EQ(h.embedding_scale, h.architecture == "gemma3" ? 8.0F : 1.0F);
  EXPECT_EQ(network->output(), network->embedding());
}

TEST_P(NetworkOfEveryArchitecture, HasTheWeightsOfItsLayers) {
  const std::string name = GetParam();
  const auto network = Network::load(tiny({.architecture = name, .weight_type = GGML_TYPE_Q8_0}));
  const bool gemma = name == "gemma3";
  ASSERT_EQ(network->layers().size(), 2U);
  for (const LayerWeights& layer : network->layers()) {
    for (const ggml_tensor* tensor : {layer.attention_norm, layer.wq, layer.wk, layer.wv, layer.wo,
                                      layer.ffn_norm, layer.gate, layer.up, layer.down}) {
      ASSERT_NE(tensor, nullptr);
      EXPECT_NE(tensor->data, nullptr);
      EXPECT_NE(tensor->buffer, nullptr);
    }
    EXPECT_EQ(layer.wk->ne[0], 64);
    EXPECT_EQ(layer.wk->ne[1], 32);
    EXPECT_EQ(layer.wk->type, GGML_TYPE_Q8_0);
    EXPECT_EQ(layer.bq != nullptr, name == "qwen2");
    EXPECT_EQ(layer.bv != nullptr, name == "qwen2");
    EXPECT_EQ(layer.q_norm != nullptr, gemma || name == "qwen3");
    EXPECT_EQ(layer.post_attention_norm != nullptr, gemma);
    EXPECT_EQ(layer.post_ffn_norm != nullptr, gemma);
  }
  EXPECT_EQ(network->weight_types().find("Q8_0 15, F32 "), 0U) << network->weight_types();
}

TEST_P(NetworkOfEveryArchitecture, NeedsEachOfItsTensors) {
  const TinySpec whole{.architecture = GetParam(), .layers = 1};
  const GgufFile file(write_tiny_model(whole, temporary_path("whole.gguf")));
  for (const TensorEntry& entry : file.tensors()) {
    if (entry.name.ends_with(".bias")) continue;  // optional, as in llama.cpp
    TinySpec spec = whole;
    spec.drop_tensor = entry.name;
    expect_error(tiny(spec), ErrorCode::corrupt, "\"" + entry.name + "\" is missing");
    spec.drop_tensor = "";
    spec.widen_tensor = entry.name;
    expect_error(tiny(spec), ErrorCode::corrupt, "\"" + entry.name + "\" has shape");
    spec.widen_tensor = "";
    spec.retype_tensor = entry.name;
    expect_error(tiny(spec), ErrorCode::unsupported, "\"" + entry.name + "\" has type i32");
  }
}

INSTANTIATE_TEST_SUITE_P(Network, NetworkOfEveryArchitecture,
                         testing::Values("llama", "qwen2", "qwen3", "gemma3"));

TEST(Network, UntiedOutputIsItsOwnTensor) {
  const auto network = Network::load(tiny({.tied = false}));
  EXPECT_NE(network->output(), network->embedding());
}

TEST(Network, BiasesOfTheThreeProjectionsAreOptional) {
  EXPECT_NE(Network::load(tiny({.biases = true}))->layers()[0].bk, nullptr);
}

TEST(Network, WindowFollowsThePattern) {
  TinySpec spec{.architecture = "gemma3", .layers = 12, .window = 32, .window_pattern = -1};
  const auto by_default = Network::load(tiny(spec));
  EXPECT_EQ(by_default->hparams().window, 32);
  for (int i = 0; i < 12; i++) EXPECT_EQ(by_default->hparams().window_of(i), i % 6 == 5 ? 0 : 32) << i;

  spec.edit = [](gguf_context* file) {
    const std::array<uint32_t, 12> pattern = {0, 1, 0, 0, 1, 1};
    gguf_set_arr_data(file, "gemma3.attention.sliding_window_pattern", GGUF_TYPE_UINT32, pattern.data(), 12);
  };
  const auto by_layer = Network::load(tiny(spec));
  EXPECT_EQ(by_layer->hparams().window_of(0), 0);
  EXPECT_EQ(by_layer->hparams().window_of(1), 32);
  EXPECT_EQ(by_layer->hparams().window_of(5), 32);

  const auto none = Network::load(tiny({.architecture = "gemma3", .window = 0}));
  EXPECT_EQ(none->hparams().window, 0);
  EXPECT_EQ(none->hparams().window_of(0), 0);
}

TEST(Network, SlidingLayersHaveTheirOwnRope) {
  const auto network = Network::load(tiny({.architecture = "gemma3",
                                           .window_pattern = 2,
                                           .rope_base = 1e6,
                                           .rope_scaling = "linear",
                                           .rope_factor = 8}));
  const auto& ropes = *network->hparams().ropes;
  EXPECT_NEAR(ropes[0].frequencies[1], std::pow(1e4, -2.0 / 16), 1e-12);
  EXPECT_NEAR(ropes[1].frequencies[1], std::pow(1e6, -2.0 / 16) / 8, 1e-12);
}

TEST(Network, RopeFactorsDivideTheFrequencies) {
  const auto network = Network::load(tiny({.rope_factors = true}));
  EXPECT_NEAR((*network->hparams().ropes)[1].frequencies[4], std::pow(1e4, -8.0 / 16) / 4.5, 1e-12);
}

TEST(Network, FingerprintTellsModelsApart) {
  const auto one = Network::load(tiny({.seed = 1}))->fingerprint();
  EXPECT_EQ(one, Network::load(tiny({.seed = 1}))->fingerprint());
  EXPECT_NE(one, Network::load(tiny({.seed = 2}))->fingerprint());
  EXPECT_NE(one, Network::load(tiny({.seed = 1, .rope_base = 20000}))->fingerprint());
}

TEST(Network, EveryQuantisedTypeLoads) {
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q4_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0,
                               GGML_TYPE_Q4_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ4_XS}) {
    EXPECT_NO_THROW(Network::load(tiny({.d_model = 256, .key_dim = 64, .d_ff = 256, .weight_type = type})))
        << ggml_type_name(type);
  }
}

TEST(Network, DequantizedModelKeepsItsShape) {
  const std::string path =
      dequantize_model(tiny({.weight_type = GGML_TYPE_Q4_1}), temporary_path("f32.gguf"));
  EXPECT_EQ(Network::load(path)->weight_types(), "F32 20");
}

TEST(Network, PathsThatAreNoModelAreNamed) {
  expect_error("/no/such/model.gguf", ErrorCode::not_found, "/no/such/model.gguf");
  expect_error(temporary_path(""), ErrorCode::io, "is a directory");
  expect_error("/dev/null", ErrorCode::io, "not a regular file");
  const std::string pipe = temporary_path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_error(pipe, ErrorCode::io, "not a regular file");
  expect_error(write_all(temporary_path("empty"), ""), ErrorCode::corrupt, "is empty");
  expect_error(write_all(temporary_path("text"), "hello, world"), ErrorCode::corrupt, "not a GGUF file");
  expect_error(write_all(temporary_path("magic"), "GGUF"), ErrorCode::corrupt, "cut off");
  std::string future = read_all(tiny({}));
  future[4] = 9;
  expect_error(write_all(temporary_path("future"), future), ErrorCode::unsupported, "version 9");
}

TEST(Network, ATruncatedFileIsRefusedAtEveryLength) {
  const std::string whole = read_all(tiny({}));
  const std::string path = temporary_path("cut.gguf");
  for (size_t size = 0; size + 64 < whole.size(); size += size < 16000 ? 61 : 9973) {
    write_all(path, whole.substr(0, size));
    try {
      Network::load(path);
      ADD_FAILURE() << "loaded at " << size << " of " << whole.size();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt) << error.what();
    }
  }
  write_all(path, whole.substr(0, whole.size() - 5000));
  expect_error(path, ErrorCode::corrupt, "is cut off: tensor \"blk.1.");
}

TEST(Network, AnUnsupportedArchitectureIsNamedWithTheList) {
  expect_error(tiny({.architecture = "mamba"}), ErrorCode::unsupported,
               "\"mamba\" is not supported; llama, qwen2");
}

TEST(Network, ATensorWithoutUseIsRefused) {
  for (const char* name : {"blk.0.attn_output.bias", "blk.0.ffn_gate_exps.weight", "blk.2.attn_q.weight",
                           "rope_factors_long.weight", "cls.output.weight"}) {
    expect_error(tiny({.extra_tensor = name}), ErrorCode::unsupported, name);
  }
  expect_error(tiny({.architecture = "qwen2", .extra_tensor = "rope_freqs.weight"}), ErrorCode::unsupported,
               "rope_freqs.weight");
}

struct BadKey {
  const char* key;
  double value;
  ErrorCode code;
  const char* names;  // what the message must name
};

TEST(Network, AKeyOutOfRangeOrOfAnUnknownFeatureIsNamed) {
  const BadKey cases[] = {
      {"llama.block_count", 0, ErrorCode::corrupt, "llama.block_count"},
      {"llama.block_count", 4e9, ErrorCode::corrupt, "llama.block_count"},
      {"llama.embedding_length", 0, ErrorCode::corrupt, "llama.embedding_length"},
      {"llama.attention.head_count_kv", 3, ErrorCode::corrupt, "head_count_kv"},
      {"llama.context_length", 0, ErrorCode::corrupt, "llama.context_length"},
      {"llama.attention.value_length", 8, ErrorCode::unsupported, "llama.attention.value_length"},
      {"llama.rope.dimension_count", 8, ErrorCode::unsupported, "llama.rope.dimension_count"},
      {"llama.expert_count", 8, ErrorCode::unsupported, "llama.expert_count"},
      {"llama.attention.sliding_window", 100, ErrorCode::unsupported, "llama.attention.sliding_window"},
      {"split.count", 3, ErrorCode::unsupported, "one part of 3"}};
  for (const BadKey& bad : cases) {
    const auto edit = [&](gguf_context* file) {
      gguf_set_val_u32(file, bad.key, static_cast<uint32_t>(bad.value));
    };
    expect_error(tiny({.edit = edit}), bad.code, bad.names);
  }
  const BadKey numbers[] = {
      {"llama.attention.layer_norm_rms_epsilon", NAN, ErrorCode::corrupt,
       "llama.attention.layer_norm_rms_epsilon"},
      {"llama.rope.freq_base", 0, ErrorCode::corrupt, "llama.rope.freq_base"},
      {"llama.rope.freq_base", INFINITY, ErrorCode::corrupt, "llama.rope.freq_base"},
      {"llama.logit_scale", 0.5, ErrorCode::unsupported, "llama.logit_scale"},
      {"llama.attention.clamp_kqv", 8, ErrorCode::unsupported, "llama.attention.clamp_kqv"},
      {"llama.final_logit_softcapping", 30, ErrorCode::unsupported, "llama.final_logit_softcapping"}};
  for (const BadKey& bad : numbers) {
    const auto edit = [&](gguf_context* file) {
      gguf_set_val_f32(file, bad.key, static_cast<float>(bad.value));
    };
    expect_error(tiny({.edit = edit}), bad.code, bad.names);
  }
  expect_error(tiny({.rope_scaling = "longrope"}), ErrorCode::unsupported, "longrope");
}

TEST(Network, AMissingKeyOrOneOfAnotherTypeIsNamed) {
  for (const char* key : {"general.architecture", "llama.block_count", "llama.embedding_length",
                          "llama.context_length", "llama.feed_forward_length", "llama.attention.head_count",
                          "llama.attention.layer_norm_rms_epsilon"}) {
    expect_error(tiny({.edit = [&](gguf_context* file) { gguf_remove_key(file, key); }}), ErrorCode::corrupt,
                 key);
    const auto retype = [&](gguf_context* file) { gguf_set_val_bool(file, key, true); };
    expect_error(tiny({.edit = retype}), ErrorCode::corrupt, key);
  }
}

TEST(Network, HeadCountsMayBeListedButNotDiffer) {
  const auto with = [](uint32_t first, uint32_t second) {
    return [=](gguf_context* file) {
      const std::array<uint32_t, 2> counts = {first, second};
      gguf_set_arr_data(file, "llama.attention.head_count_kv", GGUF_TYPE_UINT32, counts.data(), 2);
    };
  };
  EXPECT_EQ(Network::load(tiny({.edit = with(2, 2)}))->hparams().kv_heads, 2);
  expect_error(tiny({.edit = with(2, 4)}), ErrorCode::unsupported, "head_count_kv");
}

TEST(Network, DamagedHeadersNeverCrash) {
  const std::string whole = read_all(tiny({.architecture = "gemma3"}));
  const size_t header = GgufFile(tiny({.architecture = "gemma3"})).data_offset();
  const std::string path = temporary_path("flipped.gguf");
  std::mt19937 random(7);
  int refused = 0;
  for (int round = 0; round < 600; round++) {
    std::string bytes = whole;
    const int flips = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < flips; i++) {
      // Half of them in the first bytes and in the tensor table, where the counts and sizes are.
      const size_t at = random() % 2 == 0
                            ? random() % header
                            : (random() % 2 == 0 ? random() % 900 : header - 1 - random() % 2000);
      bytes[at] = static_cast<char>(random() % 3 == 0 ? 0xFF : random());
    }
    write_all(path, bytes);
    try {
      Network::load(path);
    } catch (const Error&) {
      refused++;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(GgufFile, ReadsTheSameWhereTheFileCannotBeMapped) {
  const std::string path = tiny({});
  const GgufFile mapped(path);
  const GgufFile copied(path, FileBytes::Access::read);
  ASSERT_EQ(mapped.tensors().size(), copied.tensors().size());
  EXPECT_TRUE(std::equal(mapped.bytes().begin(), mapped.bytes().end(), copied.bytes().begin()));
  EXPECT_EQ(copied.find("token_embd.weight")->size, 320U * 64 * 4);
  EXPECT_EQ(copied.find("no.such"), nullptr);
}

TEST(Network, DefaultModelLoads) {
  const std::string path = KVEDIT_MODELS "/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto network = Network::load(path);
  EXPECT_EQ(network->hparams().layers, 30);
  EXPECT_EQ(network->hparams().group(), 3);
  EXPECT_EQ(network->hparams().vocabulary, 49152);
  EXPECT_EQ(network->weight_types(), "Q4_1 210, F32 61, Q8_0 1");
}

TEST(Network, Gemma270mLoads) {
  const std::string path = KVEDIT_MODELS "/gemma-3-270m.Q4_K_M.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const Hparams h = Network::load(path)->hparams();
  EXPECT_EQ(h.key_dim, 256);
  EXPECT_EQ(h.window, 512);
  EXPECT_EQ(h.window_of(5), 0);
  EXPECT_FLOAT_EQ(h.attention_scale, 1.0F / 16);
  EXPECT_NEAR((*h.ropes)[5].frequencies[1], std::pow(1e6, -2.0 / 256), 1e-12);
  EXPECT_NEAR((*h.ropes)[4].frequencies[1], std::pow(1e4, -2.0 / 256), 1e-12);
}

}  // namespace
}  // namespace kvedit
