// Writes what model/lkv.h reads.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/network.h"

namespace kvedit {

/// What learned eviction has learned for one model; `in` is key_dim + value_dim.
struct LkvContents {
  int hidden = 0;  // of every layer; 0: linear
  Activation activation = Activation::silu;
  std::vector<float> budget_logits;                        // [layer][kv_heads]
  std::vector<float> hidden_weight;                        // [layer][kv_heads][hidden][in]
  std::vector<float> hidden_bias;                          // [layer][kv_heads][hidden]
  std::vector<float> score_weight;                         // [layer][kv_heads][hidden, or in]
  std::vector<std::pair<std::string, std::string>> notes;  // metadata: how it was made
};

/// Writes the file under a name beside `path`, then renames it: it is there whole or not at all. Throws
/// Error(invalid_argument) for a vector of another size than the network's, or with a number that is not
/// finite (named), Error(io).
void save_lkv(const LkvContents& contents, const Network& network, const std::string& path);

}  // namespace kvedit
