#include "tiny_model.h"

#include <ggml-cpp.h>
#include <gguf.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

namespace kvedit {
namespace {

constexpr const char* kChatTemplate =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% "
    "endif %}";

constexpr std::array<std::pair<const char*, const char*>, 16> kMerges = {{{"t", "h"},
                                                                          {"th", "e"},
                                                                          {"Ġ", "t"},
                                                                          {"Ġ", "a"},
                                                                          {"i", "n"},
                                                                          {"e", "r"},
                                                                          {"a", "n"},
                                                                          {"an", "d"},
                                                                          {"o", "u"},
                                                                          {"r", "e"},
                                                                          {"o", "n"},
                                                                          {"l", "l"},
                                                                          {"h", "e"},
                                                                          {"he", "ll"},
                                                                          {"hell", "o"},
                                                                          {"Ġ", "w"}}};

std::string utf8(int code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

/// GPT-2's printable stand-in for a byte.
std::string byte_token(int byte) {
  const auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  if (printable(byte)) return utf8(byte);
  int rank = 0;
  for (int b = 0; b < byte; b++) rank += printable(b) ? 0 : 1;
  return utf8(256 + rank);
}

void set_texts(gguf_context* file, const char* key, const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  gguf_set_arr_str(file, key, pointers.data(), pointers.size());
}

enum TokenKind { kNormal = 1, kUnknown = 2, kControl = 3, kUnused = 5, kByte = 6 };

// Unused tokens up to the model's size, and what both kinds of vocabularies have.
void write_tokens(const TinySpec& spec, std::vector<std::string> tokens, std::vector<int32_t> types,
                  gguf_context* file) {
  while (static_cast<int>(tokens.size()) < spec.vocabulary)
    tokens.push_back("<filler_" + std::to_string(tokens.size()) + ">");
  types.resize(tokens.size(), kUnused);
  if (static_cast<int>(tokens.size()) != spec.vocabulary) throw std::runtime_error("vocabulary is too small");
  set_texts(file, "tokenizer.ggml.tokens", tokens);
  gguf_set_arr_data(file, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
  gguf_set_val_bool(file, "tokenizer.ggml.add_bos_token", false);
  gguf_set_val_str(file, "tokenizer.chat_template", kChatTemplate);
}

void write_bpe(const TinySpec& spec, gguf_context* file) {
  std::vector<std::string> tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  std::vector<int32_t> types(tokens.size(), kControl);
  for (int byte = 0; byte < 256; byte++) tokens.push_back(byte_token(byte));
  std::vector<std::string> merges;
  for (const auto& [left, right] : kMerges) {
    tokens.push_back(std::string(left) + right);
    merges.push_back(std::string(left) + " " + right);
  }
  types.resize(tokens.size(), kNormal);
  gguf_set_val_str(file, "tokenizer.ggml.model", "gpt2");
  gguf_set_val_str(file, "tokenizer.ggml.pre", "gpt-2");
  set_texts(file, "tokenizer.ggml.merges", merges);
  gguf_set_val_u32(file, "tokenizer.ggml.bos_token_id", 0);
  gguf_set_val_u32(file, "tokenizer.ggml.eos_token_id", 0);
  write_tokens(spec, tokens, types, file);
}

// The same words, joined by their scores; "\u2581" stands for a space, which the merges write "\u0120".
void write_sentencepiece(const TinySpec& spec, gguf_context* file) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {kUnknown, kControl, kControl};
  for (int byte = 0; byte < 256; byte++) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    tokens.emplace_back(name);
  }
  types.resize(tokens.size(), kByte);
  tokens.emplace_back("\u2581");
  for (const auto& [left, right] : kMerges)
    tokens.push_back((std::string_view(left) == "\u0120" ? "\u2581" : left) + std::string(right));
  types.resize(tokens.size(), kNormal);
  std::vector<float> scores(spec.vocabulary);
  for (size_t i = 0; i < scores.size(); i++) scores[i] = -static_cast<float>(i);
  gguf_set_val_str(file, "tokenizer.ggml.model", "llama");
  gguf_set_arr_data(file, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
  gguf_set_val_u32(file, "tokenizer.ggml.bos_token_id", 1);
  gguf_set_val_u32(file, "tokenizer.ggml.eos_token_id", 2);
  gguf_set_val_bool(file, "tokenizer.ggml.add_space_prefix", true);
  write_tokens(spec, tokens, types, file);
}

void write_hparams(const TinySpec& spec, gguf_context* file) {
  const auto key = [&](const char* name) { return spec.architecture + "." + name; };
  const auto integer = [&](const char* name, int value) { gguf_set_val_u32(file, key(name).c_str(), value); };
  const auto number = [&](const char* name, double value) {
    gguf_set_val_f32(file, key(name).c_str(), static_cast<float>(value));
  };
  gguf_set_val_str(file, "general.architecture", spec.architecture.c_str());
  gguf_set_val_str(file, "general.name", ("tiny " + spec.architecture).c_str());
  integer("block_count", spec.layers);
  integer("context_length", spec.context);
  integer("embedding_length", spec.d_model);
  integer("feed_forward_length", spec.d_ff);
  integer("attention.head_count", spec.heads);
  integer("attention.head_count_kv", spec.kv_heads);
  integer("attention.key_length", spec.key_dim);
  integer("attention.value_length", spec.key_dim);
  integer("rope.dimension_count", spec.key_dim);
  number("attention.layer_norm_rms_epsilon", 1e-5);
  number("rope.freq_base", spec.rope_base);
  if (!spec.rope_scaling.empty()) {
    gguf_set_val_str(file, key("rope.scaling.type").c_str(), spec.rope_scaling.c_str());
    number("rope.scaling.factor", spec.rope_factor);
  }
  if (spec.rope_original_context > 0)
    integer("rope.scaling.original_context_length", spec.rope_original_context);
  if (spec.rope_attention_factor != 1) number("rope.scaling.attn_factor", spec.rope_attention_factor);
  if (spec.architecture == "gemma3" && spec.window > 0) {
    integer("attention.sliding_window", spec.window);
    if (spec.window_pattern >= 0) integer("attention.sliding_window_pattern", spec.window_pattern);
  }
  if (spec.logit_softcap > 0) number("final_logit_softcapping", spec.logit_softcap);
}

/// Tensors with random numbers, kept alive until the file is written.
class TensorWriter {
 public:
  TensorWriter(const TinySpec& spec, gguf_context* file)
      : spec_(spec),
        file_(file),
        random_(spec.seed),
        context_(ggml_init({size_t{256} << 20, nullptr, false})) {}

  /// Normal numbers around `mean`. Vectors stay F32.
  void add(const std::string& name, int64_t in, int64_t out, double mean, double deviation) {
    if (name == spec_.drop_tensor) return;
    if (name == spec_.widen_tensor) in += 32;
    ggml_type type = out > 1 ? spec_.weight_type : GGML_TYPE_F32;
    if (name == spec_.retype_tensor) type = spec_.retype;
    std::normal_distribution<double> normal(mean, deviation);
    std::vector<float> values(static_cast<size_t>(in * out));
    for (float& value : values) value = static_cast<float>(normal(random_));
    store(name, type, in, out, values);
  }

  void store(const std::string& name, ggml_type type, int64_t in, int64_t out,
             const std::vector<float>& values) {
    ggml_tensor* tensor = out > 1 ? ggml_new_tensor_2d(context_.get(), type, in, out)
                                  : ggml_new_tensor_1d(context_.get(), type, in);
    ggml_set_name(tensor, name.c_str());
    if (ggml_get_type_traits(type)->from_float_ref != nullptr || type == GGML_TYPE_F32) {
      ggml_quantize_chunk(type, values.data(), tensor->data, 0, out, in, nullptr);
    }
    gguf_add_tensor(file_, tensor);
  }

 private:
  const TinySpec& spec_;
  gguf_context* file_;
  std::mt19937 random_;
  ggml_context_ptr context_;
};

void write_layer(const TinySpec& spec, TensorWriter& writer, int layer) {
  const bool gemma = spec.architecture == "gemma3";
  const int queries = spec.heads * spec.key_dim;
  const int keys = spec.kv_heads * spec.key_dim;
  const auto name = [&](const char* suffix) { return "blk." + std::to_string(layer) + "." + suffix; };
  const auto norm = [&](const char* suffix, int size) { writer.add(name(suffix), size, 1, 1, 0.1); };
  // 1.5 / sqrt(in) keeps attention and feed-forward as loud as the residual stream they are added to.
  const auto matrix = [&](const char* suffix, int in, int out) {
    writer.add(name(suffix), in, out, 0, 1.5 / std::sqrt(in));
  };
  norm("attn_norm.weight", spec.d_model);
  matrix("attn_q.weight", spec.d_model, queries);
  matrix("attn_k.weight", spec.d_model, keys);
  matrix("attn_v.weight", spec.d_model, keys);
  if (spec.biases || spec.architecture == "qwen2") {
    writer.add(name("attn_q.bias"), queries, 1, 0, 0.5);
    writer.add(name("attn_k.bias"), keys, 1, 0, 0.5);
    writer.add(name("attn_v.bias"), keys, 1, 0, 0.5);
  }
  if (gemma || spec.architecture == "qwen3") {
    norm("attn_q_norm.weight", spec.key_dim);
    norm("attn_k_norm.weight", spec.key_dim);
  }
  matrix("attn_output.weight", queries, spec.d_model);
  if (gemma) norm("post_attention_norm.weight", spec.d_model);
  norm("ffn_norm.weight", spec.d_model);
  matrix("ffn_gate.weight", spec.d_model, spec.d_ff);
  matrix("ffn_up.weight", spec.d_model, spec.d_ff);
  matrix("ffn_down.weight", spec.d_ff, spec.d_model);
  if (gemma) norm("post_ffw_norm.weight", spec.d_model);
}

void write_tensors(const TinySpec& spec, TensorWriter& writer) {
  // 0.3: tied logits then have a deviation of about 0.3 * sqrt(d_model), neither flat nor one-hot.
  writer.add("token_embd.weight", spec.d_model, spec.vocabulary, 0, 0.3);
  writer.add("output_norm.weight", spec.d_model, 1, 1, 0.1);
  if (!spec.tied) writer.add("output.weight", spec.d_model, spec.vocabulary, 0, 0.3);
  if (spec.rope_factors) {
    std::vector<float> factors(spec.key_dim / 2);
    for (size_t i = 0; i < factors.size(); i++) factors[i] = 1 + 7 * static_cast<float>(i) / factors.size();
    writer.store("rope_freqs.weight", GGML_TYPE_F32, spec.key_dim / 2, 1, factors);
  }
  for (int i = 0; i < spec.layers; i++) write_layer(spec, writer, i);
  if (!spec.extra_tensor.empty()) writer.add(spec.extra_tensor, 1, 1, 0, 1);
}

}  // namespace

std::string write_tiny_model(const TinySpec& spec, const std::string& path) {
  const gguf_context_ptr file(gguf_init_empty());
  write_hparams(spec, file.get());
  (spec.sentencepiece ? write_sentencepiece : write_bpe)(spec, file.get());
  if (spec.edit) spec.edit(file.get());
  TensorWriter writer(spec, file.get());
  write_tensors(spec, writer);
  if (!gguf_write_to_file(file.get(), path.c_str(), false)) throw std::runtime_error("cannot write " + path);
  return path;
}

void begin_every_text(gguf_context* file) { gguf_set_val_bool(file, "tokenizer.ggml.add_bos_token", true); }

std::string dequantize_model(const std::string& in, const std::string& out) {
  ggml_context* tensors = nullptr;
  const gguf_context_ptr source(gguf_init_from_file(in.c_str(), {.no_alloc = false, .ctx = &tensors}));
  if (!source) throw std::runtime_error("cannot read " + in);
  const ggml_context_ptr source_tensors(tensors);
  const gguf_context_ptr target(gguf_init_empty());
  gguf_set_kv(target.get(), source.get());
  gguf_set_val_u32(target.get(), "general.file_type", 0);  // all F32

  const int64_t count = gguf_get_n_tensors(source.get());
  const ggml_context_ptr target_tensors(ggml_init({(count + 1) * ggml_tensor_overhead(), nullptr, true}));
  std::vector<std::vector<float>> values;
  for (int64_t i = 0; i < count; i++) {
    const ggml_tensor* old = ggml_get_tensor(tensors, gguf_get_tensor_name(source.get(), i));
    auto& floats = values.emplace_back(static_cast<size_t>(ggml_nelements(old)));
    if (old->type == GGML_TYPE_F32) {
      std::copy_n(static_cast<const float*>(old->data), floats.size(), floats.data());
    } else {
      ggml_get_type_traits(old->type)->to_float(old->data, floats.data(),
                                                static_cast<int64_t>(floats.size()));
    }
    ggml_tensor* fresh = ggml_new_tensor(target_tensors.get(), GGML_TYPE_F32, ggml_n_dims(old), old->ne);
    ggml_set_name(fresh, old->name);
    fresh->data = floats.data();
    gguf_add_tensor(target.get(), fresh);
  }
  if (!gguf_write_to_file(target.get(), out.c_str(), false)) throw std::runtime_error("cannot write " + out);
  return out;
}

void write_file(const std::string& path, const std::string& text) {
  if (!(std::ofstream(path, std::ios::binary) << text)) throw std::runtime_error("cannot write " + path);
}

std::string temporary_path(const std::string& name) {
  struct Folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("kvedit-test-" + std::to_string(::getpid()));
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static const Folder folder;
  return (folder.path / name).string();
}

}  // namespace kvedit
