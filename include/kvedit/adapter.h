// Low-rank adapters (LoRA): W x becomes W x + scale B (A x). An eraser is one; it is active only in the
// forward pass of an erase, never when the model generates. Model::load_adapter reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace kvedit {

struct AdapterInfo {
  std::string name;  // general.name, or the file's or folder's
  std::string path;
  std::string format;  // "gguf" (llama.cpp's adapters), "peft" (a folder of Hugging Face's PEFT)
  int rank = 0;        // the largest of its tensors
  float alpha = 0;
  float scale = 0;           // alpha / rank, or alpha / sqrt(rank) for rsLoRA
  std::string targets;       // "attn_q, attn_k, ..., ffn_down": projections it changes in any layer
  int layers = 0;            // with at least one changed projection
  int steering_states = 0;   // of an eraser: the last states of an erased span that stay; 0: all
  size_t bytes = 0;          // memory it takes
  uint64_t fingerprint = 0;  // hash of its numbers
};

class Lora;  // internal

/// An adapter that fits one model, made by Model::load_adapter; immutable, thread-safe.
class Adapter final {
 public:
  explicit Adapter(std::shared_ptr<const Lora> lora);
  ~Adapter();
  Adapter(const Adapter&) = delete;
  Adapter& operator=(const Adapter&) = delete;

  AdapterInfo info() const;

 private:
  friend const std::shared_ptr<const Lora>& implementation(const Adapter& adapter);
  std::shared_ptr<const Lora> lora_;
};

}  // namespace kvedit
