#include "evict/lkv_file.h"

#include "tools/text.h"

namespace kvedit {

Parameter lkv_file_parameter() {
  return {.name = "file",
          .description = "the *.lkv.gguf; the one that ships for the model unless given",
          .free_text = true};
}

std::shared_ptr<const Lkv> load_lkv(const Parameters& parameters) {
  return parameters.text("file").empty() ? nullptr : parameters.loaded("file", Lkv::load);
}

void check_lkv(const Lkv* lkv, const Network& network) {
  if (!lkv) {
    fail(ErrorCode::not_found, "evict", "there is no LKV file for this model (",
         network.hparams().architecture, " ", fingerprint_text(network.fingerprint()),
         "): train one, and name it with file=PATH");
  }
  lkv->check(network);
}

}  // namespace kvedit
