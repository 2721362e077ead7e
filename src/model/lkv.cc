#include "model/lkv.h"

#include <algorithm>
#include <cmath>

#include "model/keys.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr int kVersion = 1;
constexpr int kMost = 1 << 16;  // layers, heads, dimensions: beyond any model

std::string text_of(const Metadata& metadata, const std::string& key) {
  const auto text = metadata.text(key);
  if (!text) fail(ErrorCode::corrupt, "model", "metadata key \"", key, "\" is missing");
  return *text;
}

}  // namespace

std::shared_ptr<const Lkv> Lkv::load(const std::string& path) {
  return std::shared_ptr<const Lkv>(new Lkv(path));
}

Lkv::Lkv(const std::string& path) : file_(path, FileBytes::Access::read) {
  read_header();
  double all = 0;
  for (size_t layer = 0; layer < layers_.size(); layer++) read_layer(static_cast<int>(layer));
  const double largest = *std::max_element(shares_.begin(), shares_.end());
  for (double& share : shares_) all += share = std::exp(share - largest);
  for (double& share : shares_) share /= all;
}

void Lkv::read_header() {
  const Metadata metadata = file_.metadata();
  const std::string type = metadata.text("general.type").value_or("model");
  if (type != "lkv") {
    fail(ErrorCode::unsupported, "model", "\"", file_.path(),
         "\" holds no learned eviction: its general.type is \"", type, "\", not \"lkv\"");
  }
  const Keys keys(metadata, "lkv");
  const int version = keys.integer("version", 0, kMost);
  if (version != kVersion) {
    fail(ErrorCode::unsupported, "model", "\"", file_.path(), "\" has lkv.version ", version, "; ", kVersion,
         " is supported");
  }
  architecture_ = text_of(metadata, "general.architecture");
  fingerprint_ = text_of(metadata, "lkv.model.fingerprint");
  kv_heads_ = keys.integer("attention.head_count_kv", 1, kMost);
  key_dim_ = keys.integer("attention.key_length", 1, kMost);
  value_dim_ = keys.integer("attention.value_length", 1, kMost);
  const std::string activation = metadata.text("lkv.activation").value_or("silu");
  if (activation != "silu" && activation != "gelu") {
    fail(ErrorCode::unsupported, "model", "lkv.activation is \"", activation, "\", neither silu nor gelu");
  }
  activation_ = activation == "silu" ? Activation::silu : Activation::gelu;
  // Each layer has tensors of its own, so a count that the file cannot hold ends before it costs memory.
  const int layers = keys.integer("block_count", 1, kMost);
  if (static_cast<size_t>(layers) > file_.tensors().size()) {
    fail(ErrorCode::corrupt, "model", "\"", file_.path(), "\" has ", file_.tensors().size(), " tensors for ",
         layers, " layers");
  }
  layers_.resize(layers);
}

std::span<const float> Lkv::tensor(const std::string& name, int64_t in, int64_t out, int64_t heads) const {
  const TensorEntry* entry = file_.find(name);
  if (!entry) fail(ErrorCode::corrupt, "model", "tensor \"", name, "\" is missing");
  const std::array<int64_t, GGML_MAX_DIMS> wanted = {in, out, heads, 1};
  if (entry->shape != wanted) {
    fail(ErrorCode::corrupt, "model", "tensor \"", name, "\" has shape ", shape_text(entry->shape), ", not ",
         shape_text(wanted));
  }
  if (entry->type != GGML_TYPE_F32) {
    fail(ErrorCode::unsupported, "model", "tensor \"", name, "\" has type ", ggml_type_name(entry->type),
         "; f32 is supported");
  }
  const std::span numbers(reinterpret_cast<const float*>(entry->data), static_cast<size_t>(in * out * heads));
  if (!std::all_of(numbers.begin(), numbers.end(), [](float x) { return std::isfinite(x); })) {
    fail(ErrorCode::corrupt, "model", "tensor \"", name, "\" has an element that is not finite");
  }
  return numbers;
}

void Lkv::read_layer(int layer) {
  const std::string prefix = cat("blk.", layer, ".lkv_");
  const auto logits = tensor(prefix + "budget", kv_heads_, 1, 1);
  shares_.insert(shares_.end(), logits.begin(), logits.end());
  LkvLayer& of_layer = layers_[layer];
  int64_t in = int64_t{key_dim_} + value_dim_;
  if (const TensorEntry* hidden = file_.find(prefix + "hidden.weight")) {
    if (hidden->shape[1] > kMost) {
      fail(ErrorCode::corrupt, "model", "tensor \"", hidden->name, "\" has ", hidden->shape[1],
           " hidden units; at most ", kMost);
    }
    of_layer.hidden = static_cast<int>(hidden->shape[1]);
    of_layer.hidden_weight = tensor(prefix + "hidden.weight", in, of_layer.hidden, kv_heads_);
    of_layer.hidden_bias = tensor(prefix + "hidden.bias", of_layer.hidden, kv_heads_, 1);
    in = of_layer.hidden;
  }
  of_layer.score_weight = tensor(prefix + "score.weight", in, kv_heads_, 1);
}

void Lkv::check(const Network& network) const {
  const Hparams& h = network.hparams();
  const std::string fingerprint = fingerprint_text(network.fingerprint());
  if (fingerprint != fingerprint_) {
    fail(ErrorCode::invalid_argument, "model", "\"", file_.path(), "\" was trained for another model, ",
         architecture_, " ", fingerprint_, "; this one is ", h.architecture, " ", fingerprint);
  }
  if (static_cast<int>(layers_.size()) != h.layers || kv_heads_ != h.kv_heads || key_dim_ != h.key_dim ||
      value_dim_ != h.value_dim) {
    fail(ErrorCode::corrupt, "model", "\"", file_.path(), "\" has ", layers_.size(), " layers of ", kv_heads_,
         " KV heads, keys of ", key_dim_, " and values of ", value_dim_, "; its model has ", h.layers, ", ",
         h.kv_heads, ", ", h.key_dim, " and ", h.value_dim);
  }
}

}  // namespace kvedit
