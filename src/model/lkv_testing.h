// Files of learned eviction with random numbers, for tests.
#pragma once

#include <ggml-cpp.h>
#include <gguf.h>

#include <functional>
#include <random>
#include <string>

#include "model/lkv.h"

namespace kvedit {

struct LkvSpec {
  int layers = 2;
  int kv_heads = 2;
  int key_dim = 8;
  int value_dim = 16;
  int hidden = 5;  // 0: linear
  std::string activation = "silu";
  uint64_t fingerprint = 0;
  std::string drop_tensor;   // this one is left out
  std::string widen_tensor;  // this one's first dimension is one larger
  std::string spoil_tensor;  // this one has an element that is no number
  ggml_type type = GGML_TYPE_F32;
  std::function<void(gguf_context*)> edit;  // last change to the metadata
};

/// Writes the file and returns `path`.
inline std::string write_lkv(const LkvSpec& spec, const std::string& path) {
  const gguf_context_ptr file(gguf_init_empty());
  gguf_set_val_str(file.get(), "general.type", "lkv");
  gguf_set_val_str(file.get(), "general.architecture", "llama");
  gguf_set_val_str(file.get(), "lkv.model.fingerprint", fingerprint_text(spec.fingerprint).c_str());
  gguf_set_val_str(file.get(), "lkv.activation", spec.activation.c_str());
  gguf_set_val_u32(file.get(), "lkv.version", 1);
  gguf_set_val_u32(file.get(), "lkv.block_count", spec.layers);
  gguf_set_val_u32(file.get(), "lkv.attention.head_count_kv", spec.kv_heads);
  gguf_set_val_u32(file.get(), "lkv.attention.key_length", spec.key_dim);
  gguf_set_val_u32(file.get(), "lkv.attention.value_length", spec.value_dim);
  if (spec.edit) spec.edit(file.get());

  const ggml_context_ptr context(
      ggml_init({.mem_size = size_t{16} << 20, .mem_buffer = nullptr, .no_alloc = false}));
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const auto add = [&](const std::string& name, int64_t in, int64_t out, int64_t heads) {
    if (name == spec.drop_tensor) return;
    if (name == spec.widen_tensor) in++;
    const int64_t shape[] = {in, out, heads};
    ggml_tensor* tensor = ggml_new_tensor(context.get(), spec.type, 3, shape);
    ggml_set_name(tensor, name.c_str());
    for (int64_t i = 0; spec.type == GGML_TYPE_F32 && i < in * out * heads; i++) {
      static_cast<float*>(tensor->data)[i] = normal(random);
    }
    if (name == spec.spoil_tensor)
      static_cast<float*>(tensor->data)[0] = std::numeric_limits<float>::quiet_NaN();
    gguf_add_tensor(file.get(), tensor);
  };
  for (int layer = 0; layer < spec.layers; layer++) {
    const std::string prefix = "blk." + std::to_string(layer) + ".lkv_";
    const int in = spec.key_dim + spec.value_dim;
    add(prefix + "budget", spec.kv_heads, 1, 1);
    if (spec.hidden > 0) {
      add(prefix + "hidden.weight", in, spec.hidden, spec.kv_heads);
      add(prefix + "hidden.bias", spec.hidden, spec.kv_heads, 1);
    }
    add(prefix + "score.weight", spec.hidden > 0 ? spec.hidden : in, spec.kv_heads, 1);
  }
  gguf_write_to_file(file.get(), path.c_str(), false);
  return path;
}

}  // namespace kvedit
