// libllama as the reference: the same file, the same tokens. And measures of how two sets of logits differ.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kvedit/types.h"

struct llama_model;

namespace kvedit {

struct PeerOptions {
  bool flash_attention = false;
  bool f32_cache = true;
  int block = 512;
  std::string adapter;  // a LoRA GGUF, active for all tokens; empty: none
};

class Peer {
 public:
  explicit Peer(const std::string& path);
  /// Logits after each token, [tokens][vocabulary].
  std::vector<float> logits(std::span<const Token> tokens, const PeerOptions& options = {}) const;
  int vocabulary() const;

 private:
  std::shared_ptr<llama_model> model_;
};

/// KL(p || q) of the next-token distributions, over rows.
struct Divergence {
  double mean = 0;
  double max = 0;
  double same_top = 0;  // share of rows with the same most likely token
  double relative = 0;  // largest |a - b| / max |a| of a row
};
Divergence divergence(std::span<const float> p, std::span<const float> q, int vocabulary);
std::ostream& operator<<(std::ostream& out, const Divergence& d);

/// A model file of scripts/deps.
struct RealModel {
  const char* name;
  const char* file;
  /// Empty where scripts/deps has not brought it.
  std::string path() const;
};
inline constexpr RealModel kSmolLM2 = {"SmolLM2", "SmolLM2-135M-Instruct.Q4_1.gguf"};
inline constexpr RealModel kGemma3 = {"Gemma3", "gemma-3-270m.Q4_K_M.gguf"};
inline constexpr RealModel kQwen = {"Qwen", "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf"};
std::ostream& operator<<(std::ostream& out, const RealModel& model);

/// Plain English prose, about 6 bytes a word, different for each seed; the same on every machine.
std::string prose(size_t words, unsigned seed);

}  // namespace kvedit
