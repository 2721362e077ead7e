// libFuzzer: any bytes as a GGUF vocabulary give an Error or a tokenizer that works, never an abort of
// libllama's.
//   clang++ -fsanitize=fuzzer,address,undefined ...; ./tokenizer_fuzz -max_len=65536 corpus
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "kvedit/error.h"
#include "model/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int file = ::memfd_create("tokenizer_fuzz", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  try {
    const kvedit::Tokenizer tokenizer(path);
    (void)tokenizer.decode(tokenizer.encode("the hello\n world <|im_end|> \xC3\xA9", true, true));
    for (kvedit::Token token = 0; token < tokenizer.size(); token++) (void)tokenizer.piece(token);
    const kvedit::Message message{.role = "user", .content = "hello"};
    if (tokenizer.has_chat_template()) (void)tokenizer.format({&message, 1}, true);
  } catch (const kvedit::Error&) {
  }
  return 0;
}
