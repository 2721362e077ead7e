// libFuzzer: any bytes as a safetensors file give an Error or tensors inside the file, never a crash.
//   clang++ -fsanitize=fuzzer,address,undefined ...; ./safetensors_fuzz -max_len=65536 corpus
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kvedit/error.h"
#include "model/adapter/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int file = ::memfd_create("safetensors_fuzz", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  try {
    const kvedit::SafetensorsFile tensors(path);
    size_t end = size;  // they fill the end of the file
    for (auto entry = tensors.tensors().rbegin(); entry != tensors.tensors().rend(); ++entry) {
      const size_t bytes = entry->data.size();
      if (bytes > end || (bytes > 0 && std::memcmp(entry->data.data(), data + end - bytes, bytes) != 0))
        std::abort();
      end -= bytes;
    }
  } catch (const kvedit::Error&) {
  }
  return 0;
}
