#include "tools/resident.h"

#include <fstream>
#include <string>

#include "tools/text.h"

namespace kvedit {
namespace {

// A line of /proc/self/status, "VmRSS:   123 kB".
size_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  fail(ErrorCode::unsupported, "memory", "/proc/self/status has no ", key,
       ": memory cannot be measured here");
}

}  // namespace

size_t resident_bytes() { return status_bytes("VmRSS"); }
size_t peak_resident_bytes() { return status_bytes("VmHWM"); }

void reset_peak_resident() {
  std::ofstream file("/proc/self/clear_refs");
  file << 5 << std::flush;  // VmHWM becomes VmRSS: proc(5)
  if (!file) fail(ErrorCode::unsupported, "memory", "cannot write /proc/self/clear_refs");
}

}  // namespace kvedit
