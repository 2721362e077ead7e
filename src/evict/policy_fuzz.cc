// Any text as a policy gives an Error or a policy whose own text makes it again.
#include <cstddef>
#include <cstdint>

#include "evict/policy.h"
#include "kvedit/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find('/') != std::string_view::npos) return 0;  // no file is opened
  try {
    const kvedit::Policy policy = kvedit::make_policy(text);
    (void)policy.needs();
    if (kvedit::make_policy(policy.recipe).recipe != policy.recipe) __builtin_trap();
    (void)kvedit::without_files(text);
  } catch (const kvedit::Error&) {
  }
  return 0;
}
