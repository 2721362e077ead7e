#include "model/weights.h"

#include <ggml-backend.h>
#include <ggml-cpu.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "model/architecture.h"
#include "tools/text.h"

namespace kvedit {
namespace {

enum class Dim { one, model, query, key, value, heads_out, hidden, head };

struct Slot {
  const char* name;
  ggml_tensor* LayerWeights::*member;
  Dim in;
  Dim out;            // one: a vector, which must be F32
  unsigned required;  // architectures that must have it
  unsigned optional;
};

using W = LayerWeights;
constexpr Slot kSlots[] = {
    {"attn_norm.weight", &W::attention_norm, Dim::model, Dim::one, kEvery, 0},
    {"attn_q.weight", &W::wq, Dim::model, Dim::query, kEvery, 0},
    {"attn_k.weight", &W::wk, Dim::model, Dim::key, kEvery, 0},
    {"attn_v.weight", &W::wv, Dim::model, Dim::value, kEvery, 0},
    {"attn_q.bias", &W::bq, Dim::query, Dim::one, 0, kEvery},
    {"attn_k.bias", &W::bk, Dim::key, Dim::one, 0, kEvery},
    {"attn_v.bias", &W::bv, Dim::value, Dim::one, 0, kEvery},
    {"attn_q_norm.weight", &W::q_norm, Dim::head, Dim::one, kQwen3 | kGemma3, 0},
    {"attn_k_norm.weight", &W::k_norm, Dim::head, Dim::one, kQwen3 | kGemma3, 0},
    {"attn_output.weight", &W::wo, Dim::heads_out, Dim::model, kEvery, 0},
    {"post_attention_norm.weight", &W::post_attention_norm, Dim::model, Dim::one, kGemma3, 0},
    {"ffn_norm.weight", &W::ffn_norm, Dim::model, Dim::one, kEvery, 0},
    {"ffn_gate.weight", &W::gate, Dim::model, Dim::hidden, kEvery, 0},
    {"ffn_up.weight", &W::up, Dim::model, Dim::hidden, kEvery, 0},
    {"ffn_down.weight", &W::down, Dim::hidden, Dim::model, kEvery, 0},
    {"post_ffw_norm.weight", &W::post_ffn_norm, Dim::model, Dim::one, kGemma3, 0},
};

int64_t extent(Dim dim, const Hparams& h) {
  switch (dim) {
    case Dim::one:
      return 1;
    case Dim::model:
      return h.d_model;
    case Dim::query:
      return int64_t{h.heads} * h.key_dim;
    case Dim::key:
      return int64_t{h.kv_heads} * h.key_dim;
    case Dim::value:
      return int64_t{h.kv_heads} * h.value_dim;
    case Dim::heads_out:
      return int64_t{h.heads} * h.value_dim;
    case Dim::hidden:
      return h.d_ff;
    case Dim::head:
      return h.key_dim;
  }
  return 0;
}

std::string layer_name(int layer, const char* name) { return cat("blk.", layer, ".", name); }

/// A type that ggml can multiply with on the CPU and expand to floats.
bool can_multiply(ggml_type type) {
  return ggml_get_type_traits_cpu(type)->vec_dot != nullptr &&
         (type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr);
}

class Binder {
 public:
  Binder(const GgufFile& file, ggml_context* context, ggml_backend_buffer_t buffer)
      : file_(file), context_(context), buffer_(buffer) {}

  ggml_tensor* bind(const std::string& name, int64_t in, int64_t out, bool vector) const {
    const TensorEntry* entry = file_.find(name);
    if (entry == nullptr) fail(ErrorCode::corrupt, "model", "tensor \"", name, "\" is missing");
    const std::array<int64_t, GGML_MAX_DIMS> wanted = {in, out, 1, 1};
    if (entry->shape != wanted) {
      fail(ErrorCode::corrupt, "model", "tensor \"", name, "\" has shape ", shape_text(entry->shape),
           ", not ", shape_text(wanted));
    }
    if (vector ? entry->type != GGML_TYPE_F32 : !can_multiply(entry->type)) {
      fail(ErrorCode::unsupported, "model", "tensor \"", name, "\" has type ", ggml_type_name(entry->type),
           vector ? "; norms and biases must be f32" : ", which cannot be multiplied with");
    }
    ggml_tensor* tensor = ggml_new_tensor(context_, entry->type, vector ? 1 : 2, wanted.data());
    ggml_set_name(tensor, name.c_str());
    // The map is read-only and nothing writes a weight; ggml's interface knows no const.
    ggml_backend_tensor_alloc(buffer_, tensor, const_cast<std::byte*>(entry->data));
    return tensor;
  }

 private:
  const GgufFile& file_;
  ggml_context* context_;
  ggml_backend_buffer_t buffer_;
};

void refuse_ignored_tensors(const GgufFile& file, const Hparams& hparams) {
  const Architecture& arch = architecture(hparams.architecture);
  std::set<std::string> known = {"token_embd.weight", "output_norm.weight", "output.weight"};
  if (arch.rope_factors) known.insert("rope_freqs.weight");
  for (const Slot& slot : kSlots) {
    if (((slot.required | slot.optional) & arch.bit) == 0) continue;
    for (int i = 0; i < hparams.layers; i++) known.insert(layer_name(i, slot.name));
  }
  for (const TensorEntry& entry : file.tensors()) {
    if (!known.contains(entry.name)) {
      fail(ErrorCode::unsupported, "model", "tensor \"", entry.name, "\" has no use in architecture ",
           arch.name, " of ", hparams.layers, " layers");
    }
  }
}

}  // namespace

Weights bind_weights(const GgufFile& file, const Hparams& hparams, ggml_context* context,
                     ggml_backend_buffer_t buffer) {
  refuse_ignored_tensors(file, hparams);
  const unsigned bit = architecture(hparams.architecture).bit;
  const Binder binder(file, context, buffer);
  Weights weights;
  weights.embedding = binder.bind("token_embd.weight", hparams.d_model, hparams.vocabulary, false);
  weights.output_norm = binder.bind("output_norm.weight", hparams.d_model, 1, true);
  weights.output = weights.embedding;
  if (file.find("output.weight") != nullptr) {
    weights.output = binder.bind("output.weight", hparams.d_model, hparams.vocabulary, false);
  }
  weights.layers.resize(hparams.layers);
  for (int i = 0; i < hparams.layers; i++) {
    for (const Slot& slot : kSlots) {
      const std::string name = layer_name(i, slot.name);
      const bool wanted =
          (slot.required & bit) != 0 || ((slot.optional & bit) != 0 && file.find(name) != nullptr);
      if (!wanted) continue;
      weights.layers[i].*slot.member =
          binder.bind(name, extent(slot.in, hparams), extent(slot.out, hparams), slot.out == Dim::one);
    }
  }
  return weights;
}

size_t tensor_table_bytes(const GgufFile& file) {
  return (file.tensors().size() + 1) * ggml_tensor_overhead();
}

std::string count_types(const GgufFile& file) {
  std::map<std::string, int> counts;
  for (const TensorEntry& entry : file.tensors()) {
    std::string type = ggml_type_name(entry.type);
    std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return std::toupper(c); });
    counts[type]++;
  }
  std::vector<std::pair<std::string, int>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return join(sorted, [](const auto& type) { return cat(type.first, " ", type.second); });
}

}  // namespace kvedit
