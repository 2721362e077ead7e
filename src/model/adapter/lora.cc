#include "model/adapter/lora.h"

#include <algorithm>
#include <filesystem>

#include "model/adapter/lora_builder.h"
#include "tools/text.h"

namespace kvedit {

std::shared_ptr<const Lora> Lora::load(const std::string& path, const Network& network) {
  std::error_code ignored;  // a path that is neither is named by whoever opens it
  return std::filesystem::is_directory(path, ignored) ? load_lora_peft(path, network)
                                                      : load_lora_gguf(path, network);
}

std::shared_ptr<const Lora> Lora::zero(const Network& network, int rank) {
  if (rank < 1) fail(ErrorCode::out_of_range, "model", "an adapter of rank ", rank, "; at least 1");
  const Hparams& h = network.hparams();
  const int widest = std::max({h.d_model, h.d_ff, h.heads * h.key_dim, h.heads * h.value_dim});
  const std::vector<float> zeros(static_cast<size_t>(widest) * rank);
  LoraBuilder builder(network, "zero");
  for (LoraSlot slot; slot.layer < h.layers; slot.layer++) {
    for (slot.target = 0; slot.target < kLoraTargets.size(); slot.target++) {
      const ggml_tensor* weight = network.layers()[slot.layer].*kLoraTargets[slot.target].weight;
      for (const LoraPart part : {LoraPart::a, LoraPart::b}) {
        const int64_t side = weight->ne[part == LoraPart::b];
        TensorEntry entry{.name = weight->name, .type = GGML_TYPE_F32, .shape = {rank, side, 1, 1}};
        if (part == LoraPart::a) std::swap(entry.shape[0], entry.shape[1]);
        entry.data = reinterpret_cast<const std::byte*>(zeros.data());
        entry.size = static_cast<size_t>(rank * side) * sizeof(float);
        builder.add(slot, part, std::move(entry));
      }
    }
  }
  return builder.build({.name = "zero", .format = "none", .scaling = [](const LoraSlot&, int) {
                          return LoraBuilder::Scaling();
                        }});
}

Adapter::Adapter(std::shared_ptr<const Lora> lora) : lora_(std::move(lora)) {}
Adapter::~Adapter() = default;
AdapterInfo Adapter::info() const { return lora_->info(); }

const std::shared_ptr<const Lora>& implementation(const Adapter& adapter) { return adapter.lora_; }

}  // namespace kvedit
