// LoRA adapters as the engine uses them: two f32 matrices for each projection they change, read from
// llama.cpp's adapter GGUF or from a PEFT folder and checked against the network.
#pragma once

#include <ggml-cpp.h>

#include <memory>
#include <string>
#include <vector>

#include "kvedit/adapter.h"
#include "model/network.h"

namespace kvedit {

/// W x + b (a x), the scale folded into b. Null where the projection is unchanged. Shapes as in ggml.
struct LowRank {
  ggml_tensor* a = nullptr;  // [in, rank] f32
  ggml_tensor* b = nullptr;  // [rank, out] f32
  explicit operator bool() const { return a != nullptr; }
};

struct LoraLayer {
  LowRank wq, wk, wv, wo, gate, up, down;
};

inline constexpr int kMaxRank = 4096;
inline constexpr int kMaxSteeringStates = 1 << 20;

class Lora {
 public:
  /// Reads a file as GGUF, a folder as PEFT. Throws Error: not_found / io for the path, corrupt for a
  /// damaged or cut-off file, unsupported for another kind of adapter, architecture or tensor type,
  /// invalid_argument naming the tensor and both shapes where it does not fit the network.
  static std::shared_ptr<const Lora> load(const std::string& path, const Network& network);
  /// Makes an adapter of all seven projections that changes nothing. Throws Error(out_of_range) for a rank
  /// below 1.
  static std::shared_ptr<const Lora> zero(const Network& network, int rank);

  const AdapterInfo& info() const { return info_; }
  const std::vector<LoraLayer>& layers() const { return layers_; }  // [layer of the network]
  uint64_t network_fingerprint() const { return network_fingerprint_; }

 private:
  friend class LoraBuilder;  // what the two readers fill; lora_builder.h
  Lora() = default;

  ggml_context_ptr context_;        // knows the matrices
  ggml_backend_buffer_ptr buffer_;  // holds them
  std::vector<LoraLayer> layers_;
  AdapterInfo info_;
  uint64_t network_fingerprint_ = 0;
};

const std::shared_ptr<const Lora>& implementation(const Adapter& adapter);

}  // namespace kvedit
