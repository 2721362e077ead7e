// Small random LoRA adapters for tests, the same numbers in both formats that kvedit reads.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "model/adapter/lora.h"

struct gguf_context;

namespace kvedit {

struct TinyTensor {
  std::string name;
  ggml_type type = GGML_TYPE_F32;
  std::vector<int64_t> shape;  // ggml's order
  std::vector<float> values;
};

struct TinyAdapterSpec {
  int rank = 4;
  float alpha = 8;
  float magnitude = 0.1F;            // deviation of b a x for an x of deviation 1, before alpha / rank
  bool rslora = false;               // in GGUF, which has no such flag, an alpha that gives the same scale
  std::vector<std::string> targets;  // as in AdapterInfo; empty: all seven
  ggml_type type = GGML_TYPE_F32;    // PEFT: F32, F16 or BF16
  uint32_t seed = 1;
  int steering_states = 0;
  bool default_infix = false;  // PEFT: ".lora_A.default.weight"

  // Last changes, for tests of errors. Values are cut or filled with zeros to fit a changed shape.
  std::function<void(std::vector<TinyTensor>&)> edit_tensors;
  std::function<void(gguf_context*)> edit;
  std::function<void(nlohmann::ordered_json&)> edit_config;
};

/// Writes llama.cpp's adapter file and returns `path`. Throws std::runtime_error where it cannot.
std::string write_lora_gguf(const Network& network, const TinyAdapterSpec& spec, const std::string& path);

/// Writes a folder as PEFT saves it, rows of q and k in Hugging Face's order, and returns `folder`.
std::string write_peft(const Network& network, const TinyAdapterSpec& spec, const std::string& folder);

/// Writes an F32 model with W + b a in place of W and returns `out`. `in` must be all F32.
std::string merge_lora(const std::string& in, const Lora& lora, const std::string& out);

/// A safetensors file of this header and these bytes.
std::string safetensors_bytes(const std::string& header, const std::string& data);

}  // namespace kvedit
