#include "bench/setting.h"

#include "base/check.h"
#include "bench/llama_peer.h"
#include "compute/gemm.h"

namespace kvedit::bench {
namespace {

// As a shell reads it.
std::string quoted(const std::string& word) {
  if (!word.empty() && word.find_first_of(" \t\n'\"\\$&|;()<>*?![]{}`#~") == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

std::vector<std::string> load_flags(const ModelInfo& info, const ModelOptions& options) {
  std::vector<std::string> flags = {"--threads", std::to_string(info.threads)};
  if (options.linear != LinearKernel::automatic) flags.insert(flags.end(), {"--linear", info.linear});
  if (options.cache == CacheType::f32) flags.insert(flags.end(), {"--cache-type", "f32"});
  flags.insert(flags.end(), {"-m", info.path});
  return flags;
}

Setting make_setting(const ModelInfo& info, const ModelOptions& options, int repeat, bool peer) {
  Setting setting;
  setting.model = info.path;
  setting.weight_types = info.weight_types;
  setting.linear = info.linear;
  setting.attention = info.attention;
  setting.amx = info.linear == "bf16" && gemm_uses_amx();
  if (peer) setting.peer_version = LlamaPeer::version();
  if (peer) setting.peer_build = LlamaPeer::build();
  setting.machine = this_machine();
  setting.threads = info.threads;
  setting.repeat = repeat;
  setting.flags = cat("--repeat ", repeat, " --peer ", peer ? "llama.cpp" : "none", " --json");
  for (const std::string& word : load_flags(info, options)) setting.flags += cat(" ", quoted(word));
  return setting;
}

}  // namespace kvedit::bench
