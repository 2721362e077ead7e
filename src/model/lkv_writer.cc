#include "model/lkv_writer.h"

#include <ggml-cpp.h>
#include <gguf.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>

#include "model/lkv.h"
#include "tools/fingerprint.h"
#include "tools/text.h"

namespace kvedit {
namespace {

void check(const char* name, const std::vector<float>& numbers, size_t wanted) {
  if (numbers.size() != wanted) {
    fail(ErrorCode::invalid_argument, "model", name, " has ", numbers.size(), " numbers, not ", wanted);
  }
  const auto bad = std::find_if(numbers.begin(), numbers.end(), [](float x) { return !std::isfinite(x); });
  if (bad != numbers.end()) {
    fail(ErrorCode::invalid_argument, "model", name, " has ", *bad, " at ", bad - numbers.begin());
  }
}

void write_header(const LkvContents& contents, const Network& network, gguf_context* file) {
  const Hparams& h = network.hparams();
  gguf_set_val_str(file, "general.type", "lkv");
  gguf_set_val_str(file, "general.architecture", h.architecture.c_str());
  gguf_set_val_str(file, "lkv.model.fingerprint", fingerprint_text(network.fingerprint()).c_str());
  gguf_set_val_str(file, "lkv.activation", contents.activation == Activation::silu ? "silu" : "gelu");
  gguf_set_val_u32(file, "lkv.version", 1);
  gguf_set_val_u32(file, "lkv.block_count", h.layers);
  gguf_set_val_u32(file, "lkv.attention.head_count_kv", h.kv_heads);
  gguf_set_val_u32(file, "lkv.attention.key_length", h.key_dim);
  gguf_set_val_u32(file, "lkv.attention.value_length", h.value_dim);
  for (const auto& [key, text] : contents.notes) gguf_set_val_str(file, key.c_str(), text.c_str());
}

}  // namespace

void save_lkv(const LkvContents& contents, const Network& network, const std::string& path) {
  const Hparams& h = network.hparams();
  const int64_t in = int64_t{h.key_dim} + h.value_dim, hidden = contents.hidden, heads = h.kv_heads;
  const int64_t last = hidden > 0 ? hidden : in;
  const auto lanes = static_cast<size_t>(h.layers * heads);
  check("budget_logits", contents.budget_logits, lanes);
  check("hidden_weight", contents.hidden_weight, lanes * hidden * in);
  check("hidden_bias", contents.hidden_bias, lanes * hidden);
  check("score_weight", contents.score_weight, lanes * last);

  const gguf_context_ptr file(gguf_init_empty());
  write_header(contents, network, file.get());
  const ggml_context_ptr context(ggml_init(
      {.mem_size = (4 * h.layers + 1) * ggml_tensor_overhead(), .mem_buffer = nullptr, .no_alloc = true}));
  const auto add = [&](int layer, const char* name, const std::vector<float>& all,
                       std::initializer_list<int64_t> shape) {
    ggml_tensor* tensor =
        ggml_new_tensor(context.get(), GGML_TYPE_F32, static_cast<int>(shape.size()), shape.begin());
    ggml_set_name(tensor, cat("blk.", layer, ".lkv_", name).c_str());
    tensor->data = const_cast<float*>(all.data()) + layer * ggml_nelements(tensor);  // only read
    gguf_add_tensor(file.get(), tensor);
  };
  for (int layer = 0; layer < h.layers; layer++) {
    add(layer, "budget", contents.budget_logits, {heads});
    if (hidden > 0) {
      add(layer, "hidden.weight", contents.hidden_weight, {in, hidden, heads});
      add(layer, "hidden.bias", contents.hidden_bias, {hidden, heads});
    }
    add(layer, "score.weight", contents.score_weight, {last, heads});
  }

  const std::string part = path + ".part";
  std::error_code error;
  if (!gguf_write_to_file(file.get(), part.c_str(), false)) {
    std::filesystem::remove(part, error);
    fail(ErrorCode::io, "model", "cannot write \"", part, "\"");
  }
  std::filesystem::rename(part, path, error);
  if (error) fail(ErrorCode::io, "model", "cannot rename \"", part, "\": ", error.message());
}

}  // namespace kvedit
