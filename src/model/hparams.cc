#include "model/hparams.h"

#include <algorithm>
#include <cmath>

#include "model/keys.h"
#include "model/rope_scaling.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr int kMaxKeyDim = 1 << 12;
constexpr int kMaxWidth = 1 << 24;  // of any matrix: products of two dimensions stay far inside int64

/// Keys that llama.cpp ignores or reads for other architectures. A value that is not neutral would give
/// wrong numbers silently, so it is refused.
struct Refused {
  const char* key;
  double neutral;
};
constexpr Refused kRefused[] = {
    {"expert_count", 0},
    {"nextn_predict_layers", 0},
    {"logit_scale", 1},
    {"embedding_scale", 1},
    {"residual_scale", 1},
    {"attn_logit_softcapping", 0},
    {"attention.scale", 0},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attention.value_scale", 1},
    {"rope.scaling.alpha", 0},
    {"rope.scaling.yarn_ext_factor", 1},
    {"rope.scaling.yarn_attn_factor", 1},
    {"rope.scaling.yarn_beta_fast", 32},
    {"rope.scaling.yarn_beta_slow", 1},
    {"rope.scaling.yarn_log_multiplier", 0},
};

void refuse_unknown_features(const Keys& keys) {
  for (const Refused& refused : kRefused) {
    const double value = keys.number_or(refused.key, refused.neutral, -1e30, 1e30);
    if (value != refused.neutral) keys.refuse(refused.key, value);
  }
  if (!keys.metadata().flag(keys.full("attention.causal")).value_or(true))
    keys.refuse("attention.causal", "false");
  if (keys.metadata().has(keys.full("rope.dimension_sections")))
    keys.refuse("rope.dimension_sections", "set");
}

void read_sizes(const Keys& keys, Hparams& h) {
  h.layers = keys.integer("block_count", 1, 1000);
  h.d_model = keys.integer("embedding_length", 1, 1 << 20);
  h.context_length = keys.integer("context_length", 1, 1 << 30);
  h.d_ff = keys.same_in_layers("feed_forward_length", h.layers, 1, kMaxWidth);
  h.heads = keys.same_in_layers("attention.head_count", h.layers, 1, 1 << 16);
  h.kv_heads = h.heads;
  if (keys.has("attention.head_count_kv")) {
    h.kv_heads = keys.same_in_layers("attention.head_count_kv", h.layers, 1, 1 << 16);
  }
  if (h.heads % h.kv_heads != 0) {
    fail(ErrorCode::corrupt, "model", keys.full("attention.head_count"), " ", h.heads,
         " is no multiple of head_count_kv ", h.kv_heads);
  }
  h.key_dim = keys.integer_or("attention.key_length", h.d_model / h.heads, 1, kMaxKeyDim);
  h.value_dim = keys.integer_or("attention.value_length", h.d_model / h.heads, 1, kMaxKeyDim);
  if (h.value_dim != h.key_dim)
    keys.refuse("attention.value_length", cat(h.value_dim, " (key_length ", h.key_dim, ")"));
  if (int64_t{h.heads} * h.key_dim > kMaxWidth) {
    fail(ErrorCode::corrupt, "model", h.heads, " heads of ", h.key_dim, " pass the limit, ", kMaxWidth);
  }
  for (const char* key : {"attention.key_length_swa", "attention.value_length_swa"}) {
    const int value = keys.integer_or(key, h.key_dim, 1, kMaxKeyDim);
    if (value != h.key_dim) keys.refuse(key, value);
  }
  keys.refuse_unless_equal("embedding_length_out", h.d_model);
}

int read_vocabulary(const GgufFile& file, const Keys& keys) {
  if (const auto tokens = keys.metadata().texts("tokenizer.ggml.tokens")) {
    if (tokens->empty() || tokens->size() > kMaxWidth) {
      fail(ErrorCode::corrupt, "model", "tokenizer.ggml.tokens has ", tokens->size(), " tokens, 1 to ",
           kMaxWidth, " are possible");
    }
    return static_cast<int>(tokens->size());
  }
  const TensorEntry* embedding = file.find("token_embd.weight");
  const int64_t rows = embedding != nullptr ? std::clamp<int64_t>(embedding->shape[1], 1, kMaxWidth) : 1;
  return keys.integer_or("vocab_size", static_cast<int>(rows), 1, kMaxWidth);
}

/// llama.cpp: without a pattern every sixth layer is full; a pattern of 0 slides everywhere.
void read_window(const Architecture& arch, const Keys& keys, Hparams& h) {
  h.sliding.assign(h.layers, false);
  const int window = keys.integer_or("attention.sliding_window", 0, 0, 1 << 30);
  if (window == 0) return;
  if (!arch.slides) {
    // llama.cpp ignores it here; that is right only where the window covers the whole context.
    if (window < h.context_length) keys.refuse("attention.sliding_window", window);
    return;
  }
  h.window = window;
  const std::string pattern_key = keys.full("attention.sliding_window_pattern");
  if (keys.metadata().is_array(pattern_key)) {
    const auto pattern = *keys.metadata().integers(pattern_key);
    if (pattern.size() != h.sliding.size()) {
      fail(ErrorCode::corrupt, "model", pattern_key, " has ", pattern.size(), " values for ", h.layers,
           " layers");
    }
    for (int i = 0; i < h.layers; i++) h.sliding[i] = pattern[i] != 0;
  } else {
    const int period = keys.integer_or("attention.sliding_window_pattern", 6, 0, 1000);
    for (int i = 0; i < h.layers; i++) h.sliding[i] = period == 0 || i % period < period - 1;
  }
  if (std::find(h.sliding.begin(), h.sliding.end(), true) == h.sliding.end()) h.window = 0;
}

std::vector<float> read_rope_factors(const GgufFile& file, const Architecture& arch, int pairs) {
  const TensorEntry* tensor = arch.rope_factors ? file.find("rope_freqs.weight") : nullptr;
  if (tensor == nullptr) return {};
  if (tensor->type != GGML_TYPE_F32 || tensor->shape != std::array<int64_t, 4>{pairs, 1, 1, 1}) {
    fail(ErrorCode::corrupt, "model", "tensor \"rope_freqs.weight\" is ", ggml_type_name(tensor->type), " ",
         shape_text(tensor->shape), ", not f32 [", pairs, "]");
  }
  const auto* values = reinterpret_cast<const float*>(tensor->data);
  std::vector<float> factors(values, values + pairs);
  for (const float factor : factors) {
    if (!(factor > 0) || !std::isfinite(factor)) {
      fail(ErrorCode::corrupt, "model", "tensor \"rope_freqs.weight\" holds ", factor,
           ", not a positive number");
    }
  }
  return factors;
}

RopeScaling read_rope_scaling(const Architecture& arch, const Keys& keys, const Hparams& h) {
  RopeScaling scaling;
  scaling.neox = arch.neox;
  scaling.dims = keys.integer_or("rope.dimension_count", h.key_dim, 2, kMaxKeyDim);
  // llama.cpp's graphs assert this too, except for Gemma 3's.
  if (scaling.dims % 2 != 0 || scaling.dims > h.key_dim ||
      (arch.bit != kGemma3 && scaling.dims != h.key_dim)) {
    keys.refuse("rope.dimension_count", cat(scaling.dims, " (key_length ", h.key_dim, ")"));
  }
  keys.refuse_unless_equal("rope.dimension_count_swa", scaling.dims);
  scaling.base = keys.number_or("rope.freq_base", 10000, 1.0001, 1e15);
  const std::string type = keys.metadata().text(keys.full("rope.scaling.type")).value_or("linear");
  if (type != "none" && type != "linear" && type != "yarn") keys.refuse("rope.scaling.type", type);
  const double linear = keys.number_or("rope.scale_linear", 0, 0, 1e6);  // the key's old name
  const double factor = keys.number_or("rope.scaling.factor", linear, 0, 1e6);
  if (type != "none" && factor != 0) {
    if (factor < 1e-3) keys.out_of_range("rope.scaling.factor", factor, 1e-3, 1e6);
    scaling.factor = factor;
  }
  scaling.yarn = type == "yarn";
  scaling.original_context =
      keys.integer_or("rope.scaling.original_context_length", h.context_length, 1, 1 << 30);
  scaling.attention_factor = keys.number_or("rope.scaling.attn_factor", 1, 1e-3, 1e3);
  return scaling;
}

void read_ropes(const GgufFile& file, const Architecture& arch, const Keys& keys, Hparams& h) {
  const RopeScaling scaling = read_rope_scaling(arch, keys, h);
  const Rope full = make_rope(scaling, scaling.factor, read_rope_factors(file, arch, scaling.dims / 2));
  RopeScaling local = scaling;  // Gemma 3's sliding layers: another base and no scaling
  local.base = keys.number_or("rope.freq_base_swa", 10000, 1.0001, 1e15);
  local.factor = 1;
  const Rope sliding = make_rope(local, scaling.factor, {});
  auto ropes = std::make_shared<std::vector<Rope>>();
  for (int i = 0; i < h.layers; i++) ropes->push_back(h.sliding[i] ? sliding : full);
  h.ropes = std::move(ropes);
}

}  // namespace

Hparams read_hparams(const GgufFile& file) {
  const Metadata metadata = file.metadata();
  const auto name = metadata.text("general.architecture");
  if (!name) fail(ErrorCode::corrupt, "model", "metadata key \"general.architecture\" is missing");
  const Architecture& arch = architecture(*name);
  const Keys keys(metadata, *name);

  Hparams h;
  h.architecture = *name;
  h.name = metadata.text("general.name").value_or("");
  h.activation = arch.activation;
  refuse_unknown_features(keys);
  read_sizes(keys, h);
  h.vocabulary = read_vocabulary(file, keys);
  h.norm_epsilon = static_cast<float>(keys.number("attention.layer_norm_rms_epsilon", 1e-12, 1));
  if (arch.scales_embedding) h.embedding_scale = std::sqrt(static_cast<float>(h.d_model));
  // Gemma 3 27B, known by its 62 layers, scales by d_model / heads and not by its key_length.
  const bool gemma_27b = arch.bit == kGemma3 && h.layers == 62;
  h.attention_scale = 1 / std::sqrt(static_cast<float>(gemma_27b ? h.d_model / h.heads : h.key_dim));
  if (arch.bit == kGemma3) {
    h.logit_softcap = static_cast<float>(keys.number_or("final_logit_softcapping", 0, 0, 1e6));
  } else {
    keys.refuse_unless_equal("final_logit_softcapping", 0);
  }
  read_window(arch, keys, h);
  read_ropes(file, arch, keys, h);
  return h;
}

const Architecture& architecture(std::string_view name) {
  for (const Architecture& candidate : kArchitectures) {
    if (candidate.name == name) return candidate;
  }
  fail(ErrorCode::unsupported, "model", "architecture \"", name, "\" is not supported; ",
       join(kArchitectures, &Architecture::name), " are");
}

}  // namespace kvedit
