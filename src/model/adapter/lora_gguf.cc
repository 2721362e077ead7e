#include <cmath>

#include "model/adapter/lora_builder.h"
#include "model/gguf_file.h"
#include "model/keys.h"
#include "tools/text.h"

namespace kvedit {
namespace {

void expect_text(const GgufFile& file, const std::string& key, const std::string& wanted) {
  const std::string value = file.metadata().text(key).value_or("");
  if (value != wanted) {
    fail(ErrorCode::unsupported, "model", "adapter \"", file.path(), "\" has ", key, " \"", value,
         "\", not \"", wanted, "\"");
  }
}

void add_tensor(const TensorEntry& entry, LoraBuilder& builder) {
  constexpr std::string_view kPrefix = "blk.";
  constexpr std::string_view kSuffixes[] = {".weight.lora_a", ".weight.lora_b"};
  const std::string_view name = entry.name;
  for (const LoraPart part : {LoraPart::a, LoraPart::b}) {
    const std::string_view suffix = kSuffixes[part == LoraPart::a ? 0 : 1];
    if (!name.starts_with(kPrefix) || !name.ends_with(suffix)) continue;
    const auto middle = name.substr(kPrefix.size(), name.size() - kPrefix.size() - suffix.size());
    if (const auto slot = parse_lora_slot(middle, &LoraTarget::gguf)) return builder.add(*slot, part, entry);
  }
  fail(ErrorCode::unsupported, "model", "adapter tensor \"", name,
       "\" changes something else than the projections of attention and feed-forward");
}

}  // namespace

std::shared_ptr<const Lora> load_lora_gguf(const std::string& path, const Network& network) {
  const GgufFile file(path);
  expect_text(file, "general.type", "adapter");
  expect_text(file, "adapter.type", "lora");
  expect_text(file, "general.architecture", network.hparams().architecture);
  if (file.metadata().has("adapter.alora.invocation_tokens")) {
    fail(ErrorCode::unsupported, "model", "adapter \"", path,
         "\" has adapter.alora.invocation_tokens, which is not supported");
  }
  const double alpha = file.metadata().number("adapter.lora.alpha").value_or(0);
  if (!std::isfinite(alpha)) {
    fail(ErrorCode::corrupt, "model", "adapter \"", path, "\" has adapter.lora.alpha ", alpha);
  }
  const int states = Keys(file.metadata(), "kvedit.eraser").integer_or("states", 0, 0, kMaxSteeringStates);
  LoraBuilder builder(network, path);
  for (const TensorEntry& entry : file.tensors()) add_tensor(entry, builder);
  return builder.build({.name = file.metadata().text("general.name").value_or(""),
                        .format = "gguf",
                        .rotates_halves = false,
                        .scaling =
                            [&](const LoraSlot&, int rank) {
                              return LoraBuilder::Scaling{alpha, alpha == 0 ? 1 : alpha / rank};
                            },
                        .steering_states = states});
}

}  // namespace kvedit
