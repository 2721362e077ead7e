// adapter_config.json of PEFT (github.com/huggingface/peft, LoraConfig).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/adapter/lora_pattern.h"

namespace kvedit {

struct LoraConfig {
  int rank = 0;
  double alpha = 0;
  bool rank_stabilised = false;                     // rsLoRA, arXiv 2312.03732: alpha / sqrt(rank)
  int steering_states = 0;                          // kvedit's own key: see Lora
  std::optional<std::vector<std::string>> targets;  // none: a pattern or "all-linear"; the tensors tell
  std::vector<std::pair<LoraPattern, int>> ranks;   // the first that matches counts
  std::vector<std::pair<LoraPattern, double>> alphas;

  /// Looks a module up by its name in the model: "model.layers.0.self_attn.q_proj".
  bool changes(const std::string& module) const;
  int rank_of(const std::string& module) const;
  double alpha_of(const std::string& module) const;
  double scale_of(const std::string& module) const;
};

/// Throws Error naming `path` and the key: corrupt for damage, a wrong type or a value out of range,
/// unsupported for a setting that changes the result in a way that is not implemented.
LoraConfig parse_lora_config(std::string_view text, const std::string& path);

}  // namespace kvedit
