#include "model/adapter/lora_builder.h"

#include <ggml-backend.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>
#include <span>
#include <vector>

#include "model/architecture.h"
#include "tools/text.h"

namespace kvedit {
namespace {

std::string name_of(const LoraSlot& slot, LoraPart part) {
  return cat("blk.", slot.layer, ".", kLoraTargets[slot.target].gguf, ".weight.lora_",
             part == LoraPart::a ? "a" : "b");
}

std::string shape_of(const ggml_tensor* tensor) {
  return shape_text({tensor->ne[0], tensor->ne[1], tensor->ne[2], tensor->ne[3]});
}

std::span<float> floats(ggml_tensor* tensor) {
  return {static_cast<float*>(tensor->data), static_cast<size_t>(ggml_nelements(tensor))};
}

void expand(const TensorEntry& entry, std::span<float> out) {
  if (entry.type == GGML_TYPE_F32) {
    std::memcpy(out.data(), entry.data, out.size_bytes());
    return;
  }
  const std::vector<std::byte> aligned(entry.data, entry.data + entry.size);
  ggml_get_type_traits(entry.type)->to_float(aligned.data(), out.data(), static_cast<int64_t>(out.size()));
}

/// Rows i and i + d/2 of each head become 2i and 2i + 1: what llama.cpp's converter does to the weights
/// that RoPE turns in adjacent pairs.
void interleave_halves(std::span<float> rows, size_t row_size, size_t head_dim) {
  const std::vector<float> old(rows.begin(), rows.end());
  for (size_t row = 0; row < rows.size() / row_size; row++) {
    const size_t in_head = row % head_dim;
    const size_t from = row - in_head + in_head / 2 + in_head % 2 * (head_dim / 2);
    std::copy_n(&old[from * row_size], row_size, &rows[row * row_size]);
  }
}

void check_finite(const TensorEntry& entry, std::span<const float> values) {
  if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) {
    fail(ErrorCode::corrupt, "model", "adapter tensor \"", entry.name,
         "\", scaled, has a number that is not finite");
  }
}

std::string last_part(const std::string& path) {
  const auto whole = std::filesystem::absolute(path).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

uint64_t fingerprint_of(ggml_context* matrices) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  if (!state) fail(ErrorCode::no_memory, "model", "no memory for a hash");
  XXH3_64bits_reset(state.get());
  for (ggml_tensor* t = ggml_get_first_tensor(matrices); t; t = ggml_get_next_tensor(matrices, t)) {
    XXH3_64bits_update(state.get(), t->name, std::strlen(t->name));
    XXH3_64bits_update(state.get(), t->data, ggml_nbytes(t));
  }
  return XXH3_64bits_digest(state.get());
}

}  // namespace

std::optional<LoraSlot> parse_lora_slot(std::string_view text, std::string_view LoraTarget::*names) {
  LoraSlot slot;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), slot.layer);
  const auto digits = static_cast<size_t>(end - text.data());
  // One spelling a layer, so that "07" is no second layer 7.
  if (error != std::errc() || text.substr(0, digits) != std::to_string(slot.layer) || slot.layer < 0)
    return {};
  text.remove_prefix(digits);
  if (!text.starts_with('.')) return {};
  text.remove_prefix(1);
  for (slot.target = 0; slot.target < kLoraTargets.size(); slot.target++) {
    if (kLoraTargets[slot.target].*names == text) return slot;
  }
  return {};
}

void LoraBuilder::add(const LoraSlot& slot, LoraPart part, TensorEntry tensor) {
  const auto& layers = network_.layers();
  if (slot.layer >= static_cast<int>(layers.size())) {
    fail(ErrorCode::invalid_argument, "model", "adapter tensor \"", tensor.name, "\" of shape ",
         shape_text(tensor.shape), " is for layer ", slot.layer, " of a model with ", layers.size());
  }
  const ggml_tensor* weight = layers[slot.layer].*kLoraTargets[slot.target].weight;
  const bool fits = part == LoraPart::a ? tensor.shape[0] == weight->ne[0] : tensor.shape[1] == weight->ne[1];
  if (!fits || tensor.shape[2] != 1 || tensor.shape[3] != 1) {
    fail(ErrorCode::invalid_argument, "model", "adapter tensor \"", tensor.name, "\" has shape ",
         shape_text(tensor.shape), ", which does not fit \"", weight->name, "\" of shape ", shape_of(weight));
  }
  const int64_t rank = tensor.shape[part == LoraPart::a ? 1 : 0];
  if (rank < 1 || rank > kMaxRank) {
    fail(ErrorCode::unsupported, "model", "adapter tensor \"", tensor.name, "\" has rank ", rank, "; 1 to ",
         kMaxRank, " are supported");
  }
  if (tensor.type != GGML_TYPE_F32 && ggml_get_type_traits(tensor.type)->to_float == nullptr) {
    fail(ErrorCode::unsupported, "model", "adapter tensor \"", tensor.name, "\" has type ",
         ggml_type_name(tensor.type), ", which cannot be expanded to f32");
  }
  Pair& pair = pairs_[slot];
  auto& place = part == LoraPart::a ? pair.a : pair.b;
  if (place) {
    fail(ErrorCode::corrupt, "model", "adapter tensors \"", place->name, "\" and \"", tensor.name,
         "\" are both part ", part == LoraPart::a ? "a" : "b", " of one projection");
  }
  place = std::move(tensor);
}

void LoraBuilder::check_pairs() const {
  if (pairs_.empty()) fail(ErrorCode::corrupt, "model", "adapter \"", path_, "\" has no tensors");
  for (const auto& [slot, pair] : pairs_) {
    if (!pair.a || !pair.b) {
      fail(ErrorCode::corrupt, "model", "adapter tensor \"", (pair.a ? pair.a : pair.b)->name, "\" of shape ",
           shape_text((pair.a ? pair.a : pair.b)->shape), " has no partner \"",
           name_of(slot, pair.a ? LoraPart::b : LoraPart::a), "\"");
    }
    if (pair.a->shape[1] != pair.b->shape[0]) {
      fail(ErrorCode::corrupt, "model", "adapter tensors \"", pair.a->name, "\" of shape ",
           shape_text(pair.a->shape), " and \"", pair.b->name, "\" of shape ", shape_text(pair.b->shape),
           " differ in rank");
    }
  }
}

void LoraBuilder::allocate(Lora& lora) const {
  lora.layers_.resize(network_.layers().size());
  lora.context_.reset(ggml_init({.mem_size = (2 * pairs_.size() + 1) * ggml_tensor_overhead(),
                                 .mem_buffer = nullptr,
                                 .no_alloc = true}));
  if (!lora.context_) fail(ErrorCode::no_memory, "model", "no memory for the tensors of \"", path_, "\"");
  ggml_context* context = lora.context_.get();
  for (const auto& [slot, pair] : pairs_) {
    LowRank& update = lora.layers_[slot.layer].*kLoraTargets[slot.target].update;
    update.a = ggml_new_tensor(context, GGML_TYPE_F32, 2, pair.a->shape.data());
    update.b = ggml_new_tensor(context, GGML_TYPE_F32, 2, pair.b->shape.data());
    ggml_set_name(update.a, name_of(slot, LoraPart::a).c_str());
    ggml_set_name(update.b, name_of(slot, LoraPart::b).c_str());
    lora.info_.bytes += ggml_nbytes(update.a) + ggml_nbytes(update.b);
  }
  // Not ggml_init's own memory: that aborts where there is none.
  lora.buffer_.reset(ggml_backend_alloc_ctx_tensors_from_buft(context, ggml_backend_cpu_buffer_type()));
  if (!lora.buffer_) {
    fail(ErrorCode::no_memory, "model", "no memory for the ", lora.info_.bytes, " bytes of adapter \"", path_,
         "\"");
  }
  ggml_backend_buffer_set_usage(lora.buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
}

void LoraBuilder::fill(const LoraSlot& slot, const Pair& pair, const LowRank& update, double scale,
                       bool rotates_halves) const {
  const std::span<float> a = floats(update.a);
  const std::span<float> b = floats(update.b);
  expand(*pair.a, a);
  expand(*pair.b, b);
  const Hparams& h = network_.hparams();
  if (rotates_halves && kLoraTargets[slot.target].rotary && !architecture(h.architecture).neox) {
    interleave_halves(b, pair.rank(), h.key_dim);
  }
  for (float& value : b) value *= static_cast<float>(scale);
  check_finite(*pair.a, a);
  check_finite(*pair.b, b);
}

std::shared_ptr<const Lora> LoraBuilder::build(Source source) const {
  check_pairs();
  const std::shared_ptr<Lora> lora(new Lora);
  allocate(*lora);
  AdapterInfo& info = lora->info_;
  info.steering_states = source.steering_states;
  std::set<int> layers;
  std::set<size_t> targets;
  for (const auto& [slot, pair] : pairs_) {
    const Scaling scaling = source.scaling(slot, pair.rank());
    fill(slot, pair, lora->layers_[slot.layer].*kLoraTargets[slot.target].update, scaling.scale,
         source.rotates_halves);
    if (pair.rank() > info.rank) {
      info.rank = pair.rank();
      info.alpha = static_cast<float>(scaling.alpha);
      info.scale = static_cast<float>(scaling.scale);
    }
    layers.insert(slot.layer);
    targets.insert(slot.target);
  }
  info.targets = join(targets, [](size_t target) { return kLoraTargets[target].gguf; });
  info.layers = static_cast<int>(layers.size());
  info.name = source.name.empty() ? last_part(path_) : std::move(source.name);
  info.path = path_;
  info.format = std::move(source.format);
  info.fingerprint = fingerprint_of(lora->context_.get());
  lora->network_fingerprint_ = network_.fingerprint();
  return lora;
}

}  // namespace kvedit
