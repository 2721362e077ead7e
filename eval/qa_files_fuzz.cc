// libFuzzer: any bytes as a data set's file give an Error or questions that stand on their passages, never a
// crash.
//   clang++ -fsanitize=fuzzer,address,undefined ...; ./qa_files_fuzz -max_len=65536 corpus
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "eval/qa_files.h"
#include "kvedit/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const bool single_hop : {false, true}) {
    try {
      for (const kvedit::eval::QaItem& item : kvedit::eval::read_qa(text, "fuzz", false, single_hop).items) {
        const auto& passage = item.passages.at(item.supporting);
        if (!kvedit::eval::says(passage.text, item.answers.at(0))) std::abort();
      }
    } catch (const kvedit::Error&) {
    }
  }
  return 0;
}
