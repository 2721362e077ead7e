// Learned eviction (LKV, arXiv 2605.06676) as a file holds it: each KV head's logit for its share of the
// budget (LKV-H), and its small map from an entry's unrotated key and its value to a score (LKV-T):
//
//   score = w . x,  x = [key; value]             where the layer has no hidden weights, else
//   score = w . activation(H x + b)
//
// The file: docs/formats.md.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/gguf_file.h"
#include "model/network.h"
#include "tools/fingerprint.h"

namespace kvedit {

/// The maps of a layer's KV heads.
struct LkvLayer {
  int hidden = 0;                        // 0: linear
  std::span<const float> hidden_weight;  // [kv_heads][hidden][key_dim + value_dim]
  std::span<const float> hidden_bias;    // [kv_heads][hidden]
  std::span<const float> score_weight;   // [kv_heads][hidden, or key_dim + value_dim]
};

class Lkv {
 public:
  /// Throws Error: not_found / io for the path, corrupt for a damaged file or a tensor that is missing, of a
  /// wrong shape or not finite (named), unsupported for another kind of file, version or activation.
  static std::shared_ptr<const Lkv> load(const std::string& path);

  /// Throws Error(invalid_argument) naming both where the file was trained for another model.
  void check(const Network& network) const;

  /// Returns the share of the whole budget that a KV head gets; all of them sum to 1.
  double share(int layer, int head) const { return shares_[layer * kv_heads_ + head]; }
  const LkvLayer& layer(int layer) const { return layers_[layer]; }
  Activation activation() const { return activation_; }

 private:
  explicit Lkv(const std::string& path);
  void read_header();
  void read_layer(int layer);
  std::span<const float> tensor(const std::string& name, int64_t in, int64_t out, int64_t heads) const;

  GgufFile file_;
  std::string architecture_;
  std::string fingerprint_;  // 16 hexadecimal digits
  int kv_heads_ = 0;
  int key_dim_ = 0;
  int value_dim_ = 0;
  Activation activation_ = Activation::silu;
  std::vector<LkvLayer> layers_;
  std::vector<double> shares_;  // [layer][kv_head]
};

}  // namespace kvedit
