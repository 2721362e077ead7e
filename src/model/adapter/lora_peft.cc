#include <algorithm>
#include <map>
#include <string_view>

#include "model/adapter/lora_builder.h"
#include "model/adapter/lora_config.h"
#include "model/adapter/safetensors.h"
#include "tools/text.h"

namespace kvedit {
namespace {

LoraConfig read_config(const std::string& path) {
  const FileBytes file(path);
  return parse_lora_config({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path);
}

TensorEntry ggml_entry(const SafetensorsEntry& entry) {
  static const std::map<std::string, ggml_type> kTypes = {
      {"F32", GGML_TYPE_F32}, {"F16", GGML_TYPE_F16}, {"BF16", GGML_TYPE_BF16}};
  const auto type = kTypes.find(entry.type);
  if (type == kTypes.end()) {
    fail(ErrorCode::unsupported, "model", "adapter tensor \"", entry.name, "\" has type ", entry.type,
         "; F32, F16 and BF16 are supported");
  }
  TensorEntry tensor{.name = entry.name,
                     .type = type->second,
                     .shape = {1, 1, 1, 1},
                     .data = entry.data.data(),
                     .size = entry.data.size()};
  if (entry.shape.size() > tensor.shape.size()) {
    fail(ErrorCode::unsupported, "model", "adapter tensor \"", entry.name, "\" has ", entry.shape.size(),
         " dimensions, not 2");
  }
  std::reverse_copy(entry.shape.begin(), entry.shape.end(), tensor.shape.begin());
  return tensor;
}

std::string module_of(const LoraSlot& slot) {
  return cat("model.layers.", slot.layer, ".", kLoraTargets[slot.target].peft);
}

void add_tensor(const SafetensorsEntry& entry, const LoraConfig& config, LoraBuilder& builder) {
  constexpr std::string_view kPrefix = "base_model.model.model.layers.";
  for (const LoraPart part : {LoraPart::a, LoraPart::b}) {
    for (const std::string_view adapter : {"", ".default"}) {  // PEFT's name for the only adapter
      const std::string suffix = cat(part == LoraPart::a ? ".lora_A" : ".lora_B", adapter, ".weight");
      std::string_view name = entry.name;
      if (!name.starts_with(kPrefix) || !name.ends_with(suffix)) continue;
      name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - suffix.size());
      const auto slot = parse_lora_slot(name, &LoraTarget::peft);
      if (!slot) continue;
      const std::string module = module_of(*slot);
      if (!config.changes(module)) {
        fail(ErrorCode::corrupt, "model", "adapter tensor \"", entry.name,
             "\" is for none of the configuration's target_modules");
      }
      TensorEntry tensor = ggml_entry(entry);
      const int64_t rank = tensor.shape[part == LoraPart::a ? 1 : 0];
      if (rank != config.rank_of(module)) {
        fail(ErrorCode::corrupt, "model", "adapter tensor \"", entry.name, "\" of shape ",
             shape_text(tensor.shape), " has not the configuration's rank, ", config.rank_of(module));
      }
      return builder.add(*slot, part, std::move(tensor));
    }
  }
  fail(ErrorCode::unsupported, "model", "adapter tensor \"", entry.name,
       "\" changes something else than the projections of attention and feed-forward");
}

}  // namespace

std::shared_ptr<const Lora> load_lora_peft(const std::string& folder, const Network& network) {
  const LoraConfig config = read_config(folder + "/adapter_config.json");
  const SafetensorsFile file(folder + "/adapter_model.safetensors");
  LoraBuilder builder(network, folder);
  for (const SafetensorsEntry& entry : file.tensors()) add_tensor(entry, config, builder);
  return builder.build({.format = "peft",
                        .rotates_halves = true,
                        .scaling =
                            [&](const LoraSlot& slot, int) {
                              const std::string module = module_of(slot);
                              return LoraBuilder::Scaling{config.alpha_of(module), config.scale_of(module)};
                            },
                        .steering_states = config.steering_states});
}

}  // namespace kvedit
