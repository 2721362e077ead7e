// A transformer read from a GGUF file: hyper-parameters as data, weights mapped from the file.
// Architectures differ by switches in Hparams, never by class.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/rope.h"

struct ggml_tensor;

namespace kvedit {

enum class Activation { silu, gelu };  // of the gated feed-forward: SwiGLU or GeGLU (tanh form)

struct Hparams {
  std::string architecture;  // llama, qwen2, qwen3, gemma3
  std::string name;          // general.name, may be empty
  int layers = 0;
  int d_model = 0;
  int d_ff = 0;
  int heads = 0;
  int kv_heads = 0;
  int key_dim = 0;  // of one head; not d_model / heads in every model
  int value_dim = 0;
  int vocabulary = 0;
  int context_length = 0;
  float norm_epsilon = 0;
  float attention_scale = 0;  // 1 / sqrt(key_dim) unless metadata say otherwise
  float embedding_scale = 1;  // gemma: sqrt(d_model)
  float logit_softcap = 0;    // 0: none
  Activation activation = Activation::silu;
  int window = 0;                                  // sliding window in tokens: position p sees > p - window
  std::vector<bool> sliding;                       // [layer] this layer uses the window
  std::shared_ptr<const std::vector<Rope>> ropes;  // [layer]

  int group() const { return heads / kv_heads; }
  int window_of(int layer) const { return sliding[layer] ? window : 0; }  // 0: full attention
};

/// Weights of a layer; a null pointer where the architecture has none. Shapes as in ggml: [in, out].
struct LayerWeights {
  ggml_tensor* attention_norm = nullptr;  // [d_model]
  ggml_tensor* wq = nullptr;              // [d_model, heads * key_dim]
  ggml_tensor* wk = nullptr;              // [d_model, kv_heads * key_dim]
  ggml_tensor* wv = nullptr;              // [d_model, kv_heads * value_dim]
  ggml_tensor* bq = nullptr;              // qwen2: biases of the three
  ggml_tensor* bk = nullptr;
  ggml_tensor* bv = nullptr;
  ggml_tensor* q_norm = nullptr;  // [key_dim] qwen3, gemma3
  ggml_tensor* k_norm = nullptr;
  ggml_tensor* wo = nullptr;                   // [heads * value_dim, d_model]
  ggml_tensor* post_attention_norm = nullptr;  // [d_model] gemma3
  ggml_tensor* ffn_norm = nullptr;             // [d_model]
  ggml_tensor* gate = nullptr;                 // [d_model, d_ff]
  ggml_tensor* up = nullptr;                   // [d_model, d_ff]
  ggml_tensor* down = nullptr;                 // [d_ff, d_model]
  ggml_tensor* post_ffn_norm = nullptr;        // [d_model] gemma3
};

class Network {
 public:
  /// Maps the file and checks everything before use. Throws Error: not_found / io for the path,
  /// corrupt for what is not GGUF, cut off, or lacks a tensor or has one of a wrong shape (named),
  /// unsupported for another architecture or weight type (named).
  static std::shared_ptr<const Network> load(const std::string& path);
  virtual ~Network() = default;
  /// Throws Error(io) if its file has been cut since it was mapped: reading the weights would end the
  /// process.
  virtual void check_file() const {}
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  const Hparams& hparams() const { return hparams_; }
  const std::vector<LayerWeights>& layers() const { return layers_; }
  ggml_tensor* embedding() const { return embedding_; }      // [d_model, vocabulary]
  ggml_tensor* output_norm() const { return output_norm_; }  // [d_model]
  ggml_tensor* output() const { return output_; }  // [d_model, vocabulary]; the embedding where tied
  const std::string& path() const { return path_; }
  size_t weight_bytes() const { return weight_bytes_; }
  /// Counts the weights by type, most frequent first: "Q4_1 210, F32 61, Q8_0 1".
  const std::string& weight_types() const { return weight_types_; }
  /// Returns the xxHash of metadata, tensor table and a sample of each tensor's bytes: the model's identity
  /// in snapshots.
  uint64_t fingerprint() const { return fingerprint_; }

 protected:
  Network() = default;
  Hparams hparams_;
  std::vector<LayerWeights> layers_;
  ggml_tensor* embedding_ = nullptr;
  ggml_tensor* output_norm_ = nullptr;
  ggml_tensor* output_ = nullptr;
  std::string path_;
  size_t weight_bytes_ = 0;
  std::string weight_types_;
  uint64_t fingerprint_ = 0;
};

}  // namespace kvedit
