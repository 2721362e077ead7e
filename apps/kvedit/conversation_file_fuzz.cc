// libFuzzer: any bytes as a conversation in JSON give its messages or an Error.
//   clang++ -fsanitize=fuzzer,address,undefined ...; ./conversation_file_fuzz -max_len=4096 corpus
#include <cstddef>
#include <cstdint>

#include "conversation_file.h"
#include "kvedit/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    (void)kvedit::cli::parse_messages({reinterpret_cast<const char*>(data), size});
  } catch (const kvedit::Error&) {
  }
  return 0;
}
