// Adapters that do not fit, or that no reader of ours implements: each is refused by name.
#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "kvedit/error.h"
#include "model/adapter/lora_testing.h"
#include "model/gguf_file.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

struct BadTensor {
  const char* name;  // of the tensor that is changed; "": a new one
  std::function<void(TinyTensor&)> change;
  ErrorCode code;
  std::vector<std::string> parts;
};

/// The edit of one tensor as a spec's hook. An empty new name drops it.
auto editing(const BadTensor& bad) {
  return [&bad](std::vector<TinyTensor>& tensors) {
    if (*bad.name == '\0')
      tensors.push_back({.name = {}, .type = GGML_TYPE_F32, .shape = {64, 4}, .values = {}});
    const auto found = *bad.name == '\0'
                           ? std::prev(tensors.end())
                           : std::find_if(tensors.begin(), tensors.end(),
                                          [&](const TinyTensor& t) { return t.name == bad.name; });
    ASSERT_NE(found, tensors.end());
    bad.change(*found);
    if (found->name.empty()) tensors.erase(found);
  };
}

auto shaped(std::vector<int64_t> shape) {
  return [shape](TinyTensor& tensor) { tensor.shape = shape; };
}
auto renamed(std::string name) {
  return [name](TinyTensor& tensor) { tensor.name = name; };
}
const auto drop = renamed("");
auto filled(float value) {
  return [value](TinyTensor& tensor) { tensor.values.back() = value; };
}

constexpr auto kUnsupported = ErrorCode::unsupported;
constexpr auto kCorrupt = ErrorCode::corrupt;
constexpr auto kMisfit = ErrorCode::invalid_argument;

TEST(LoraErrors, AWrongTensorOfAGgufAdapterIsNamed) {
  const std::string a = "blk.1.attn_q.weight.lora_a";
  const std::string b = "blk.1.ffn_up.weight.lora_b";
  const std::vector<BadTensor> cases = {
      {a.c_str(), drop, kCorrupt, {"blk.1.attn_q.weight.lora_b\" of shape [4, 64]", "no partner \"" + a}},
      {b.c_str(), drop, kCorrupt, {"blk.1.ffn_up.weight.lora_a\" of shape [64, 4]", "no partner \"" + b}},
      {a.c_str(), shaped({96, 4}), kMisfit, {a, "shape [96, 4]", "blk.1.attn_q.weight\" of shape [64, 64]"}},
      {b.c_str(), shaped({4, 64}), kMisfit, {b, "shape [4, 64]", "blk.1.ffn_up.weight\" of shape [64, 128]"}},
      {a.c_str(), shaped({64, 4, 2}), kMisfit, {a, "shape [64, 4, 2]"}},
      {a.c_str(), shaped({64, 5}), kCorrupt, {a, "[64, 5]", "[4, 64]", "differ in rank"}},
      {a.c_str(), shaped({64, 4097}), kUnsupported, {a, "rank 4097", "4096"}},
      {a.c_str(), filled(NAN), kCorrupt, {a, "not finite"}},
      {b.c_str(), filled(INFINITY), kCorrupt, {b, "not finite"}},
      {b.c_str(), filled(3e38F), kCorrupt, {b, "scaled, has a number that is not finite"}},
      {a.c_str(), [](TinyTensor& t) { t.type = GGML_TYPE_I32; }, kUnsupported, {a, "type i32"}},
      {"", renamed("blk.2.attn_q.weight.lora_a"), kMisfit, {"blk.2.attn_q", "[64, 4]", "layer 2", "with 2"}},
      {"", renamed("blk.999999999999.attn_q.weight.lora_a"), kUnsupported, {"blk.999999999999"}},
      {"", renamed("blk.-1.attn_q.weight.lora_a"), kUnsupported, {"blk.-1"}},
      {"", renamed("blk.01.attn_q.weight.lora_a"), kUnsupported, {"blk.01"}},
      {"", renamed("token_embd.weight.lora_a"), kUnsupported, {"token_embd.weight.lora_a"}},
      {"", renamed("output.weight.lora_b"), kUnsupported, {"output.weight.lora_b"}},
      {"", renamed("blk.0.attn_norm.weight"), kUnsupported, {"blk.0.attn_norm.weight"}},
      {"", renamed("blk.0.ffn_gate_exps.weight.lora_a"), kUnsupported, {"ffn_gate_exps"}},
      {"", renamed("blk..weight.lora_a"), kUnsupported, {"blk..weight"}},
      {"", renamed("blk.weight.lora_a"), kUnsupported, {"blk.weight"}}};
  for (const BadTensor& bad : cases) {
    expect_error([&] { from_gguf(llama(), {.edit_tensors = editing(bad)}); }, bad.code, bad.parts);
  }
  const auto none = [](std::vector<TinyTensor>& tensors) { tensors.clear(); };
  expect_error([&] { from_gguf(llama(), {.edit_tensors = none}); }, kCorrupt, {"has no tensors"});
  expect_error([&] { from_peft(llama(), {.edit_tensors = none}); }, kCorrupt, {"has no tensors"});
}

TEST(LoraErrors, AWrongTensorOfAPeftAdapterIsNamed) {
  const std::string base = "base_model.model.model.layers.1.";
  const std::string a = base + "self_attn.q_proj.lora_A.weight";
  const std::string b = base + "mlp.up_proj.lora_B.weight";
  const std::vector<BadTensor> cases = {
      {a.c_str(),
       drop,
       kCorrupt,
       {base + "self_attn.q_proj.lora_B.weight", "no partner \"blk.1.attn_q.weight.lora_a"}},
      {a.c_str(), shaped({96, 4}), kMisfit, {a, "shape [96, 4]", "blk.1.attn_q.weight\" of shape [64, 64]"}},
      {b.c_str(), shaped({4, 64}), kMisfit, {b, "shape [4, 64]", "blk.1.ffn_up.weight\" of shape [64, 128]"}},
      {a.c_str(), shaped({64, 5}), kCorrupt, {a, "[64, 5]", "configuration's rank, 4"}},
      {a.c_str(), shaped({64, 4, 1, 1, 1}), kUnsupported, {a, "5 dimensions"}},
      {a.c_str(), filled(NAN), kCorrupt, {a, "not finite"}},
      {a.c_str(), [](TinyTensor& t) { t.type = GGML_TYPE_I32; }, kUnsupported, {a, "type I32"}},
      {"",
       renamed(base + "self_attn.q_proj.lora_A.default.weight"),
       kCorrupt,
       {a, "lora_A.default", "both part a"}},
      {"",
       renamed("base_model.model.model.layers.2.mlp.up_proj.lora_A.weight"),
       kMisfit,
       {"layer 2", "with 2"}},
      {"", renamed("base_model.model.lm_head.lora_A.weight"), kUnsupported, {"lm_head"}},
      {"",
       renamed("base_model.model.model.embed_tokens.lora_embedding_A"),
       kUnsupported,
       {"lora_embedding_A"}},
      {"", renamed(base + "self_attn.q_proj.lora_magnitude_vector"), kUnsupported, {"lora_magnitude_vector"}},
      {"", renamed(base + "self_attn.q_proj.lora_B.bias"), kUnsupported, {"lora_B.bias"}},
      {"", renamed(base + "self_attn.qkv_proj.lora_A.weight"), kUnsupported, {"qkv_proj"}},
      {"", renamed(base + "input_layernorm.weight"), kUnsupported, {"input_layernorm"}}};
  for (const BadTensor& bad : cases) {
    expect_error([&] { from_peft(llama(), {.edit_tensors = editing(bad)}); }, bad.code, bad.parts);
  }
}

TEST(LoraErrors, AGgufOfAnotherKindIsRefused) {
  struct Case {
    const char* key;
    const char* value;
  };
  for (const Case& c : {Case{"general.type", "model"}, Case{"adapter.type", "control_vector"},
                        Case{"general.architecture", "qwen3"}}) {
    const auto edit = [&](gguf_context* file) { gguf_set_val_str(file, c.key, c.value); };
    expect_error([&] { from_gguf(llama(), {.edit = edit}); }, kUnsupported, {c.key, c.value});
    const auto remove = [&](gguf_context* file) { gguf_remove_key(file, c.key); };
    expect_error([&] { from_gguf(llama(), {.edit = remove}); }, kUnsupported, {c.key, "\"\""});
    const auto retype = [&](gguf_context* file) { gguf_set_val_u32(file, c.key, 1); };
    expect_error([&] { from_gguf(llama(), {.edit = retype}); }, kCorrupt, {c.key});
  }
  for (const float alpha : {NAN, INFINITY}) {
    const auto edit = [&](gguf_context* file) { gguf_set_val_f32(file, "adapter.lora.alpha", alpha); };
    expect_error([&] { from_gguf(llama(), {.edit = edit}); }, kCorrupt, {"adapter.lora.alpha"});
  }
  for (const int states : {-1, (1 << 20) + 1}) {
    const auto edit = [&](gguf_context* file) { gguf_set_val_i32(file, "kvedit.eraser.states", states); };
    expect_error([&] { from_gguf(llama(), {.edit = edit}); }, kCorrupt, {"kvedit.eraser.states"});
  }
  const auto invoked = [](gguf_context* file) {
    const uint32_t token = 1;
    gguf_set_arr_data(file, "adapter.alora.invocation_tokens", GGUF_TYPE_UINT32, &token, 1);
  };
  expect_error([&] { from_gguf(llama(), {.edit = invoked}); }, kUnsupported,
               {"adapter.alora.invocation_tokens"});
  expect_error([&] { Lora::load(llama().path(), llama()); }, kUnsupported, {"general.type"});
}

TEST(LoraErrors, APeftSettingThatIsNotImplementedIsRefused) {
  const std::pair<const char*, Json> settings[] = {{"peft_type", "LOHA"},
                                                   {"peft_type", nullptr},
                                                   {"bias", "all"},
                                                   {"use_dora", true},
                                                   {"lora_bias", true},
                                                   {"fan_in_fan_out", true},
                                                   {"use_qalora", true},
                                                   {"modules_to_save", {"lm_head"}},
                                                   {"target_parameters", {"mlp.experts"}},
                                                   {"layer_replication", {{0, 2}, {1, 2}}},
                                                   {"trainable_token_indices", {1, 2}},
                                                   {"alora_invocation_tokens", {1, 2}},
                                                   {"init_lora_weights", "pissa_niter_4"},
                                                   {"a_future_flag", true},
                                                   {"a_future_number", 3}};
  for (const auto& setting : settings) {
    const auto edit = [&](Json& config) { config[setting.first] = setting.second; };
    expect_error([&] { from_peft(llama(), {.edit_config = edit}); }, kUnsupported,
                 {setting.first, "adapter_config.json"});
  }
}

TEST(LoraErrors, AWrongPeftConfigurationIsRefused) {
  struct Setting {
    const char* key;
    Json value;
    const char* part = nullptr;  // of the message; else the key
  };
  const char* const rank = "configuration's rank, 8";  // the tensors have 4
  const Setting settings[] = {{"r", 0},
                              {"r", 4097},
                              {"r", -4},
                              {"r", 4.5},
                              {"r", 18446744073709551615ULL},
                              {"r", "4"},
                              {"r", nullptr},
                              {"r", 8, rank},
                              {"lora_alpha", "8"},
                              {"lora_alpha", nullptr},
                              {"use_rslora", 1},
                              {"kvedit_states", -1},
                              {"kvedit_states", (1 << 20) + 1},
                              {"kvedit_states", "8"},
                              {"target_modules", nullptr},
                              {"target_modules", {1, 2}},
                              {"target_modules", {"q_proj", "v_proj"}},  // tensors of k_proj
                              {"rank_pattern", {{"q_proj", 0}}},
                              {"rank_pattern", {{"q_proj", 8}}, rank},
                              {"rank_pattern", 8},
                              {"alpha_pattern", {{"q_proj", "8"}}}};
  for (const Setting& setting : settings) {
    const auto edit = [&](Json& config) { config[setting.key] = setting.value; };
    expect_error([&] { from_peft(llama(), {.edit_config = edit}); }, kCorrupt,
                 {setting.part ? setting.part : setting.key});
  }
  for (const char* pattern : {"", "a{2}", "(?<!x)q", "(?i)q", "[[:alpha:]]", "[]a]", "[^.]", "q[", "\\Aq",
                              "\\1", "q(", "*q", "q\n", "q\\"}) {
    const auto edit = [&](Json& config) { config["alpha_pattern"] = {{pattern, 8}}; };
    expect_error([&] { from_peft(llama(), {.edit_config = edit}); }, kUnsupported, {"pattern \""});
  }
  const auto many = [](Json& config) {
    for (int i = 0; i < 1025; i++) config["rank_pattern"][std::to_string(i) + "m"] = 4;
  };
  expect_error([&] { from_peft(llama(), {.edit_config = many}); }, kCorrupt,
               {"rank_pattern has 1025 patterns"});
}

TEST(LoraErrors, AConfigurationThatIsNoneIsRefused) {
  const std::string folder = write_peft(llama(), {}, temporary_path("damaged"));
  const std::string deep(20, '[');
  const std::string cases[] = {
      "", "{", "[]", "null", "{\"r\": NaN}", "{} {}", "{\"a\": " + deep, std::string(300 << 10, ' ')};
  for (const std::string& text : cases) {
    std::ofstream(folder + "/adapter_config.json") << text;
    expect_error([&] { Lora::load(folder, llama()); }, kCorrupt, {"adapter_config.json"});
  }
}

TEST(LoraErrors, MissingFilesAreNamed) {
  const auto load = [](const std::string& path) { return [path] { Lora::load(path, llama()); }; };
  expect_error(load("/no/such/adapter"), ErrorCode::not_found, {"/no/such/adapter"});
  expect_error(load("/dev/null"), ErrorCode::io, {"/dev/null"});
  for (const char* name : {"/adapter_model.safetensors", "/adapter_config.json"}) {
    const std::string folder = write_peft(llama(), {}, temporary_path("incomplete"));
    std::filesystem::remove(folder + name);
    expect_error(load(folder), ErrorCode::not_found, {folder + name});
  }
}

// Patterns that take exponential time where a matcher tries one alternative after the other.
TEST(LoraErrors, PatternsOfExponentialTimeAreNot) {
  const auto edit = [](Json& config) {
    config["alpha_pattern"] = {{"(.|.)*x", 1}, {"((a|e|.)+)+x", 1}, {"(.*.*.*.*.*.*.*.*)*x", 1}};
  };
  EXPECT_EQ(from_peft(llama(), {.edit_config = edit})->info().alpha, 8);
}

TEST(LoraErrors, DamagedFilesNeverCrash) {
  const std::string path = write_lora_gguf(llama(), {}, temporary_path("flipped.gguf"));
  std::ifstream in(path, std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  const size_t header = GgufFile(path).data_offset();
  std::mt19937 random(3);
  int refused = 0;
  for (int round = 0; round < 400; round++) {
    std::string bytes = whole;
    bytes[random() % header] = static_cast<char>(random());
    if (round % 4 == 0) bytes.resize(random() % bytes.size());
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      Lora::load(path, llama());
    } catch (const Error&) {
      refused++;
    }
  }
  EXPECT_GT(refused, 300);
}

}  // namespace
}  // namespace kvedit
