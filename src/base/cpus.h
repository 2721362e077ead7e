// Processors that this process may use, which may be fewer than the host has.
#pragma once

#include <string>

namespace kvedit {

/// Counts those of its affinity mask, and no more than the quota of any control group it is in (v1 or v2,
/// every ancestor), rounded down; at least 1.
int usable_cpus();

/// Reads the least quota under `root` ("" is the real one): /proc/self/cgroup and mountinfo there, and what
/// they name. 0: none.
double cpu_quota(const std::string& root);

}  // namespace kvedit
