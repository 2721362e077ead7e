// libFuzzer: any bytes as an adapter's GGUF file give an Error or an adapter that fits, never a crash or a
// hang.
//   clang++ -fsanitize=fuzzer,address,undefined ...; ./lora_fuzz -max_len=65536 corpus
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "kvedit/error.h"
#include "model/adapter/lora_builder.h"

namespace {

/// Shapes without numbers: those of the models that tests/fuzz_seeds.cc writes.
class Shapes final : public kvedit::Network {
 public:
  Shapes()
      : context_(
            ggml_init({.mem_size = 16 * ggml_tensor_overhead(), .mem_buffer = nullptr, .no_alloc = true})) {
    hparams_.architecture = "llama";
    hparams_.layers = 1;
    hparams_.key_dim = 16;
    layers_.resize(1);
    for (const kvedit::LoraTarget& target : kvedit::kLoraTargets) {
      const bool narrow = target.gguf == "attn_k" || target.gguf == "attn_v";
      layers_[0].*target.weight = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, 32, narrow ? 16 : 32);
    }
  }

 private:
  ggml_context_ptr context_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int file = ::memfd_create("lora_fuzz", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  static const Shapes network;
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  try {
    const auto lora = kvedit::Lora::load(path, network);
    if (lora->info().layers != 1 || lora->info().rank < 1) std::abort();
  } catch (const kvedit::Error&) {
  }
  return 0;
}
