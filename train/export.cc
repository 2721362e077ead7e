#include "train/export.h"

#include <ggml-cpp.h>
#include <gguf.h>

#include <cstring>
#include <filesystem>

#include "tools/fingerprint.h"
#include "tools/text.h"
#include "tools/write_file.h"

namespace kvedit::train {
namespace {

struct Part {
  std::string name;
  Tensor values;  // [rows, columns]
};

/// Every matrix by its name; rows of b may be put in another order.
template <class Name, class Reorder>
std::vector<Part> parts_of(const LoraTensors& lora, const Name& name, const Reorder& reorder) {
  std::vector<Part> parts;
  for (size_t layer = 0; layer < lora.layers.size(); layer++) {
    for (size_t i = 0; i < kLoraTargets.size(); i++) {
      const LowRankTensors& update = lora.layers[layer][i];
      if (!update.a.defined()) continue;
      const auto host = [](const Tensor& t) {
        return t.detach().to(torch::kCPU, torch::kFloat32).contiguous();
      };
      parts.push_back({name(layer, kLoraTargets[i], true), host(update.a)});
      parts.push_back({name(layer, kLoraTargets[i], false), reorder(layer, kLoraTargets[i], host(update.b))});
    }
  }
  return parts;
}

// Rows 2i and 2i + 1 of each head, GGUF's where RoPE turns neighbours, become i and i + d/2, Hugging Face's.
Tensor halves(const Tensor& b, const Rope& rope, int key_dim) {
  if (rope.neox) return b;
  return b.view({-1, key_dim / 2, 2, b.size(1)}).transpose(1, 2).reshape(b.sizes()).contiguous();
}

std::string safetensors(const std::vector<Part>& parts) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const Part& part : parts) {
    const size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(part.values.data_ptr<float>()),
                part.values.numel() * sizeof(float));
    header[part.name] = {{"dtype", "F32"},
                         {"shape", {part.values.size(0), part.values.size(1)}},
                         {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  std::string bytes(sizeof(size), '\0');
  std::memcpy(bytes.data(), &size, sizeof(size));
  return bytes + text + data;
}

}  // namespace

void write_adapter(const LoraTensors& lora, const Network& network, const Json& notes,
                   const std::string& path) {
  const gguf_context_ptr file(gguf_init_empty());
  gguf_set_val_str(file.get(), "general.type", "adapter");
  gguf_set_val_str(file.get(), "general.architecture", network.hparams().architecture.c_str());
  gguf_set_val_str(file.get(), "general.name", ("eraser of " + network.hparams().name).c_str());
  gguf_set_val_str(file.get(), "adapter.type", "lora");
  gguf_set_val_f32(file.get(), "adapter.lora.alpha", static_cast<float>(lora.alpha));
  gguf_set_val_u32(file.get(), "kvedit.eraser.states", static_cast<uint32_t>(lora.steering_states));
  gguf_set_val_str(file.get(), "kvedit.model.fingerprint", fingerprint_text(network.fingerprint()).c_str());
  gguf_set_val_str(file.get(), "kvedit.training", notes.dump().c_str());
  const auto name = [](size_t layer, const LoraTarget& target, bool a) {
    return cat("blk.", layer, ".", target.gguf, ".weight.lora_", a ? "a" : "b");
  };
  const std::vector<Part> parts =
      parts_of(lora, name, [](size_t, const LoraTarget&, const Tensor& b) { return b; });
  const ggml_context_ptr context(ggml_init({(parts.size() + 1) * ggml_tensor_overhead(), nullptr, true}));
  std::vector<std::vector<ggml_fp16_t>> halves;
  for (const Part& part : parts) {
    halves.emplace_back(part.values.numel());
    ggml_fp32_to_fp16_row(part.values.data_ptr<float>(), halves.back().data(), part.values.numel());
    ggml_tensor* t =
        ggml_new_tensor_2d(context.get(), GGML_TYPE_F16, part.values.size(1), part.values.size(0));
    ggml_set_name(t, part.name.c_str());
    t->data = halves.back().data();
    gguf_add_tensor(file.get(), t);
  }
  const std::string partial = path + ".new";
  if (!gguf_write_to_file(file.get(), partial.c_str(), false) ||
      std::rename(partial.c_str(), path.c_str()) != 0)
    fail(ErrorCode::io, "train", "cannot write \"", path, "\"");
}

void write_peft_folder(const LoraTensors& lora, const Network& network, const std::string& folder) {
  const Hparams& h = network.hparams();
  const auto name = [](size_t layer, const LoraTarget& target, bool a) {
    return cat("base_model.model.model.layers.", layer, ".", target.peft, ".lora_", a ? "A" : "B", ".weight");
  };
  const auto reorder = [&](size_t layer, const LoraTarget& target, const Tensor& b) {
    return target.rotary ? halves(b, (*h.ropes)[layer], h.key_dim) : b;
  };
  Json targets = Json::array();
  for (size_t i = 0; i < kLoraTargets.size(); i++) {
    const bool used = std::any_of(lora.layers.begin(), lora.layers.end(),
                                  [&](const auto& layer) { return layer[i].a.defined(); });
    if (used) targets.push_back(kLoraTargets[i].peft.substr(kLoraTargets[i].peft.find('.') + 1));
  }
  const Json config = {{"peft_type", "LORA"},
                       {"task_type", "CAUSAL_LM"},
                       {"r", lora.rank},
                       {"lora_alpha", lora.alpha},
                       {"target_modules", targets},
                       {"base_model_name_or_path", h.name},
                       {"bias", "none"},
                       {"inference_mode", true},
                       {"use_rslora", false},
                       {"lora_dropout", 0.0},
                       {"kvedit_states", lora.steering_states}};
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(ErrorCode::io, "train", "cannot make \"", folder, "\": ", error.message());
  write_file("train", folder + "/adapter_config.json", config.dump(2) + "\n");
  write_file("train", folder + "/adapter_model.safetensors", safetensors(parts_of(lora, name, reorder)));
}

}  // namespace kvedit::train
