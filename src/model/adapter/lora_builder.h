// What the readers of adapter formats share: the projections by name, and the checked conversion of a file's
// tensors into the matrices of a Lora.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "model/adapter/lora.h"
#include "model/gguf_file.h"

namespace kvedit {

/// A projection that an adapter may change.
struct LoraTarget {
  std::string_view gguf;  // blk.N.<gguf>.weight
  std::string_view peft;  // model.layers.N.<peft>
  ggml_tensor* LayerWeights::*weight;
  LowRank LoraLayer::*update;
  bool rotary;  // its rows are turned by RoPE, in pairs
};

inline constexpr std::array<LoraTarget, 7> kLoraTargets = {{
    {"attn_q", "self_attn.q_proj", &LayerWeights::wq, &LoraLayer::wq, true},
    {"attn_k", "self_attn.k_proj", &LayerWeights::wk, &LoraLayer::wk, true},
    {"attn_v", "self_attn.v_proj", &LayerWeights::wv, &LoraLayer::wv, false},
    {"attn_output", "self_attn.o_proj", &LayerWeights::wo, &LoraLayer::wo, false},
    {"ffn_gate", "mlp.gate_proj", &LayerWeights::gate, &LoraLayer::gate, false},
    {"ffn_up", "mlp.up_proj", &LayerWeights::up, &LoraLayer::up, false},
    {"ffn_down", "mlp.down_proj", &LayerWeights::down, &LoraLayer::down, false},
}};

/// One projection of one layer.
struct LoraSlot {
  int layer = 0;
  size_t target = 0;  // in kLoraTargets
  bool operator<(const LoraSlot& other) const {
    return std::tie(layer, target) < std::tie(other.layer, other.target);
  }
};

/// Reads "12.attn_q" by the names of one format; nullopt for anything else. The layer may lie past the
/// model's.
std::optional<LoraSlot> parse_lora_slot(std::string_view text, std::string_view LoraTarget::*names);

enum class LoraPart { a, b };

class LoraBuilder {
 public:
  struct Scaling {
    double alpha = 0;
    double scale = 1;
  };
  struct Source {
    std::string name;  // empty: the path's last part
    std::string format;
    bool rotates_halves = false;  // RoPE pairs rows (i, i + d/2) in every architecture, as Hugging Face does
    std::function<Scaling(const LoraSlot&, int rank)> scaling;
    int steering_states = 0;
  };

  LoraBuilder(const Network& network, std::string path) : network_(network), path_(std::move(path)) {}

  /// Takes a tensor, with its shape in ggml's order: a is [in, rank], b [rank, out]. The data stays valid
  /// until build() and need not be aligned. Throws Error(invalid_argument) naming both shapes where the
  /// tensor does not fit the network, Error(corrupt) for a second tensor of the same part, Error(unsupported)
  /// for a type or rank.
  void add(const LoraSlot& slot, LoraPart part, TensorEntry tensor);

  /// Throws Error(corrupt) for a missing partner, ranks that differ, numbers that are not finite, or no
  /// tensors at all.
  std::shared_ptr<const Lora> build(Source source) const;

 private:
  struct Pair {
    std::optional<TensorEntry> a, b;
    int rank() const { return static_cast<int>(a->shape[1]); }
  };
  void check_pairs() const;
  void allocate(Lora& lora) const;
  void fill(const LoraSlot& slot, const Pair& pair, const LowRank& update, double scale,
            bool rotates_halves) const;

  const Network& network_;
  std::string path_;
  std::map<LoraSlot, Pair> pairs_;  // in model order
};

/// Reads llama.cpp's adapter file: GGUF with general.type = adapter, as src/llama-adapter.cpp there. Tensors
/// blk.N.<projection>.weight.lora_a [in, rank] and .lora_b [rank, out]; the update is scaled by
/// adapter.lora.alpha / rank, by 1 where alpha is 0 or missing. Errors as Lora::load.
std::shared_ptr<const Lora> load_lora_gguf(const std::string& path, const Network& network);

/// Reads an adapter as Hugging Face's PEFT saves it: a folder with adapter_config.json and
/// adapter_model.safetensors. Tensors base_model.model.model.layers.N.<module>.lora_A.weight, [rank][in] in
/// their file, and .lora_B.weight, [out][rank]. Where GGUF orders the rows of q and k for adjacent rotary
/// pairs (llama), so are those of B. Errors as Lora::load; a setting that is not implemented is unsupported,
/// by its name.
std::shared_ptr<const Lora> load_lora_peft(const std::string& folder, const Network& network);

}  // namespace kvedit
