#include "bench/setting.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string_view>

#include "bench/llama_peer.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

constexpr std::array<std::string_view, 13> kFeatures = {
    "avx2",     "fma",      "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile",
    "amx_int8", "amx_bf16", "asimd",   "i8mm",        "bf16",        "sve"};

std::string after_colon(const std::string& line) {
  const size_t colon = line.find(": ");
  return colon == std::string::npos ? "" : line.substr(colon + 2);
}

// As a shell reads it.
std::string quoted(const std::string& word) {
  if (!word.empty() && word.find_first_of(" \t\n'\"\\$&|;()<>*?![]{}`#~") == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

bool Machine::amx() const {
  return std::find(features.begin(), features.end(), "amx_tile") != features.end();
}

Machine this_machine() {
  Machine machine;
  machine.cpu = "unknown";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line) && !line.empty();) {  // of the first processor
    if (line.starts_with("model name")) machine.cpu = after_colon(line);
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream flags(after_colon(line));
    for (std::string flag; flags >> flag;) {
      if (std::find(kFeatures.begin(), kFeatures.end(), flag) != kFeatures.end())
        machine.features.push_back(flag);
    }
  }
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof usable, &usable) == 0) machine.cores = CPU_COUNT(&usable);
  return machine;
}

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
  setting.amx = info.amx;
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
