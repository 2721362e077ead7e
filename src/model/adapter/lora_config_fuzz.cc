// libFuzzer: any bytes as PEFT's adapter_config.json give an Error or settings whose patterns can be asked,
// never a crash or a hang.
//   clang++ -fsanitize=fuzzer,address,undefined ...; ./lora_config_fuzz -max_len=4096 corpus
#include <cstddef>
#include <cstdint>

#include "kvedit/error.h"
#include "model/adapter/lora_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto config = kvedit::parse_lora_config({reinterpret_cast<const char*>(data), size}, "config");
    (void)config.changes("model.layers.0.self_attn.q_proj");
    (void)config.scale_of("model.layers.27.mlp.down_proj");
  } catch (const kvedit::Error&) {
  }
  return 0;
}
