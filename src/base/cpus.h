// How many processors this process may use, which the host's number says nothing about.
#pragma once

#include <string>

namespace kvedit {

/// Those of its affinity mask, and no more than the quota of any control group it is in (v1 or v2, every
/// ancestor), rounded down; at least 1.
int usable_cpus();

/// The least quota under `root` ("" is the real one): /proc/self/cgroup and mountinfo there, and what they
/// name. 0: none.
double cpu_quota(const std::string& root);

}  // namespace kvedit
