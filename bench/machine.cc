#include "bench/machine.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string_view>

namespace kvedit::bench {
namespace {

constexpr std::array<std::string_view, 13> kFeatures = {
    "avx2",     "fma",      "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile",
    "amx_int8", "amx_bf16", "asimd",   "i8mm",        "bf16",        "sve"};

std::string after_colon(const std::string& line) {
  const size_t colon = line.find(": ");
  return colon == std::string::npos ? "" : line.substr(colon + 2);
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

}  // namespace kvedit::bench
