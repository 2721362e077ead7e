#include "tiny_adapter.h"

#include <ggml-cpp.h>
#include <gguf.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "model/adapter/lora_builder.h"

namespace kvedit {
namespace {

/// The two matrices of each projection, a before b, in model order and GGUF's order of rows.
struct Update {
  int layer;
  const LoraTarget* target;
  TinyTensor a, b;  // unnamed
};

std::vector<Update> random_updates(const Network& network, const TinyAdapterSpec& spec) {
  std::mt19937 random(spec.seed);
  const auto matrix = [&](int64_t in, int64_t out, double deviation) {
    std::normal_distribution<double> normal(0, deviation);
    TinyTensor tensor{.name = {}, .type = spec.type, .shape = {in, out}, .values = {}};
    for (int64_t i = 0; i < in * out; i++) tensor.values.push_back(static_cast<float>(normal(random)));
    return tensor;
  };
  std::vector<Update> updates;
  for (int layer = 0; layer < network.hparams().layers; layer++) {
    for (const LoraTarget& target : kLoraTargets) {
      const auto& wanted = spec.targets;
      if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), target.gguf) == wanted.end()) continue;
      const ggml_tensor* weight = network.layers()[layer].*target.weight;
      TinyTensor a = matrix(weight->ne[0], spec.rank, 1 / std::sqrt(weight->ne[0]));
      TinyTensor b = matrix(spec.rank, weight->ne[1], spec.magnitude / std::sqrt(spec.rank));
      updates.push_back({layer, &target, std::move(a), std::move(b)});
    }
  }
  return updates;
}

/// The names filled in, the spec's changes made.
std::vector<TinyTensor> named(std::vector<Update> updates, const TinyAdapterSpec& spec, bool peft) {
  const std::string infix = peft && spec.default_infix ? ".default" : "";
  std::vector<TinyTensor> tensors;
  for (Update& update : updates) {
    const std::string layer = std::to_string(update.layer) + ".";
    const std::string base = peft
                                 ? "base_model.model.model.layers." + layer + std::string(update.target->peft)
                                 : "blk." + layer + std::string(update.target->gguf) + ".weight";
    update.a.name = base + (peft ? ".lora_A" + infix + ".weight" : ".lora_a");
    update.b.name = base + (peft ? ".lora_B" + infix + ".weight" : ".lora_b");
    tensors.push_back(std::move(update.a));
    tensors.push_back(std::move(update.b));
  }
  if (spec.edit_tensors) spec.edit_tensors(tensors);
  for (TinyTensor& tensor : tensors) {
    size_t count = 1;
    for (const int64_t extent : tensor.shape) count *= static_cast<size_t>(extent);
    tensor.values.resize(count);
  }
  return tensors;
}

std::vector<char> bytes_of(const TinyTensor& tensor) {
  const auto count = static_cast<int64_t>(tensor.values.size());
  const int64_t row = tensor.shape[0];
  std::vector<char> bytes(ggml_row_size(tensor.type, row) * (count / row));
  if (tensor.type == GGML_TYPE_F32 || ggml_get_type_traits(tensor.type)->from_float_ref != nullptr) {
    ggml_quantize_chunk(tensor.type, tensor.values.data(), bytes.data(), 0, count / row, row, nullptr);
  }
  return bytes;
}

/// Rows 2i and 2i + 1 of each head, GGUF's for llama, become i and i + d/2, Hugging Face's.
void separate_halves(TinyTensor& b, int head_dim) {
  const std::vector<float> old = b.values;
  const int64_t rank = b.shape[0];
  for (int64_t head = 0; head < b.shape[1] / head_dim; head++) {
    for (int64_t i = 0; i < head_dim / 2; i++) {
      for (int64_t half = 0; half < 2; half++) {
        const int64_t from = head * head_dim + 2 * i + half;
        const int64_t to = head * head_dim + half * (head_dim / 2) + i;
        std::copy_n(&old[from * rank], rank, &b.values[to * rank]);
      }
    }
  }
}

nlohmann::ordered_json peft_config(const TinyAdapterSpec& spec) {
  nlohmann::ordered_json targets = nlohmann::ordered_json::array();
  for (const LoraTarget& target : kLoraTargets) {
    const auto& wanted = spec.targets;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), target.gguf) == wanted.end()) continue;
    targets.push_back(target.peft.substr(target.peft.find('.') + 1));
  }
  // The keys that PEFT 0.17 writes.
  return {{"alpha_pattern", nlohmann::ordered_json::object()},
          {"auto_mapping", nullptr},
          {"base_model_name_or_path", "tiny"},
          {"bias", "none"},
          {"corda_config", nullptr},
          {"eva_config", nullptr},
          {"exclude_modules", nullptr},
          {"fan_in_fan_out", false},
          {"inference_mode", true},
          {"kvedit_states", spec.steering_states},
          {"init_lora_weights", true},
          {"layer_replication", nullptr},
          {"layers_pattern", nullptr},
          {"layers_to_transform", nullptr},
          {"loftq_config", nlohmann::ordered_json::object()},
          {"lora_alpha", spec.alpha},
          {"lora_bias", false},
          {"lora_dropout", 0.05},
          {"megatron_config", nullptr},
          {"megatron_core", "megatron.core"},
          {"modules_to_save", nullptr},
          {"peft_type", "LORA"},
          {"qalora_group_size", 16},
          {"r", spec.rank},
          {"rank_pattern", nlohmann::ordered_json::object()},
          {"revision", nullptr},
          {"target_modules", targets},
          {"target_parameters", nullptr},
          {"task_type", "CAUSAL_LM"},
          {"trainable_token_indices", nullptr},
          {"use_dora", false},
          {"use_qalora", false},
          {"use_rslora", spec.rslora}};
}

void write_safetensors(const std::vector<TinyTensor>& tensors, const std::string& path) {
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const TinyTensor& tensor : tensors) {
    const std::vector<char> bytes = bytes_of(tensor);
    const size_t begin = data.size();
    data.append(bytes.begin(), bytes.end());
    std::string type = ggml_type_name(tensor.type);
    std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return std::toupper(c); });
    header[tensor.name] = {{"dtype", type},
                           {"shape", std::vector<int64_t>(tensor.shape.rbegin(), tensor.shape.rend())},
                           {"data_offsets", {begin, data.size()}}};
  }
  std::ofstream(path, std::ios::binary) << safetensors_bytes(header.dump(), data);
}

}  // namespace

std::string write_lora_gguf(const Network& network, const TinyAdapterSpec& spec, const std::string& path) {
  const gguf_context_ptr file(gguf_init_empty());
  gguf_set_val_str(file.get(), "general.type", "adapter");
  gguf_set_val_str(file.get(), "general.architecture", network.hparams().architecture.c_str());
  gguf_set_val_str(file.get(), "adapter.type", "lora");
  const double alpha = spec.rslora ? spec.alpha * std::sqrt(spec.rank) : spec.alpha;
  gguf_set_val_f32(file.get(), "adapter.lora.alpha", static_cast<float>(alpha));
  gguf_set_val_u32(file.get(), "kvedit.eraser.states", static_cast<uint32_t>(spec.steering_states));
  if (spec.edit) spec.edit(file.get());
  const std::vector<TinyTensor> tensors = named(random_updates(network, spec), spec, false);
  const ggml_context_ptr context(ggml_init({(tensors.size() + 1) * ggml_tensor_overhead(), nullptr, true}));
  std::vector<std::vector<char>> data;
  for (const TinyTensor& tensor : tensors) {
    data.push_back(bytes_of(tensor));
    ggml_tensor* t = ggml_new_tensor(context.get(), tensor.type, static_cast<int>(tensor.shape.size()),
                                     tensor.shape.data());
    ggml_set_name(t, tensor.name.c_str());
    t->data = data.back().data();
    gguf_add_tensor(file.get(), t);
  }
  if (!gguf_write_to_file(file.get(), path.c_str(), false)) throw std::runtime_error("cannot write " + path);
  return path;
}

std::string write_peft(const Network& network, const TinyAdapterSpec& spec, const std::string& folder) {
  std::filesystem::create_directories(folder);
  nlohmann::ordered_json config = peft_config(spec);
  if (spec.edit_config) spec.edit_config(config);
  std::ofstream(folder + "/adapter_config.json") << config.dump(2);

  std::vector<Update> updates = random_updates(network, spec);
  for (Update& update : updates) {
    const bool rotary = update.target->gguf == "attn_q" || update.target->gguf == "attn_k";
    if (rotary && network.hparams().architecture == "llama") {
      separate_halves(update.b, network.hparams().key_dim);
    }
  }
  write_safetensors(named(std::move(updates), spec, true), folder + "/adapter_model.safetensors");
  return folder;
}

std::string merge_lora(const std::string& in, const Lora& lora, const std::string& out) {
  ggml_context* tensors = nullptr;
  const gguf_context_ptr source(gguf_init_from_file(in.c_str(), {.no_alloc = false, .ctx = &tensors}));
  if (!source) throw std::runtime_error("cannot read " + in);
  const ggml_context_ptr owner(tensors);
  for (size_t layer = 0; layer < lora.layers().size(); layer++) {
    for (const LoraTarget& target : kLoraTargets) {
      const LowRank& update = lora.layers()[layer].*target.update;
      if (!update) continue;
      const std::string name = "blk." + std::to_string(layer) + "." + std::string(target.gguf) + ".weight";
      ggml_tensor* weight = ggml_get_tensor(tensors, name.c_str());
      if (weight == nullptr || weight->type != GGML_TYPE_F32) throw std::runtime_error(name + " is not F32");
      const auto* a = static_cast<const float*>(update.a->data);
      const auto* b = static_cast<const float*>(update.b->data);
      auto* w = static_cast<float*>(weight->data);
      const int64_t columns = weight->ne[0];
      const int64_t rank = update.a->ne[1];
      for (int64_t row = 0; row < weight->ne[1]; row++) {
        for (int64_t column = 0; column < columns; column++) {
          double sum = w[row * columns + column];
          for (int64_t r = 0; r < rank; r++) {
            sum += static_cast<double>(b[row * rank + r]) * a[r * columns + column];
          }
          w[row * columns + column] = static_cast<float>(sum);
        }
      }
    }
  }
  const gguf_context_ptr target(gguf_init_empty());
  gguf_set_kv(target.get(), source.get());
  for (int64_t i = 0; i < gguf_get_n_tensors(source.get()); i++) {
    gguf_add_tensor(target.get(), ggml_get_tensor(tensors, gguf_get_tensor_name(source.get(), i)));
  }
  if (!gguf_write_to_file(target.get(), out.c_str(), false)) throw std::runtime_error("cannot write " + out);
  return out;
}

std::string safetensors_bytes(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; i++) bytes += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return bytes + header + data;
}

}  // namespace kvedit
