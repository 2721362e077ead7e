#include "base/cpus.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "tools/text.h"

namespace kvedit {
namespace {

// The hierarchy of control groups that limits processors, where it is mounted.
struct Mount {
  std::string path;  // "/sys/fs/cgroup"
  std::string root;  // the group that stands there: "/" but in a container
  bool v2;
};

bool has_word(const std::string& list, const std::string& word) {
  std::istringstream words(list);
  for (std::string each; std::getline(words, each, ',');) {
    if (each == word) return true;
  }
  return false;
}

// A line of mountinfo: ID PARENT MAJOR:MINOR ROOT PATH OPTIONS... - TYPE SOURCE SUPER-OPTIONS
std::vector<Mount> mounts(const std::string& root) {
  std::vector<Mount> all;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::string skip, group, path, type, source, options;
    std::istringstream(line) >> skip >> skip >> skip >> group >> path;
    std::istringstream(line.substr(dash + 3)) >> type >> source >> options;
    if (type == "cgroup2" || (type == "cgroup" && has_word(options, "cpu"))) {
      all.push_back({path, group, type == "cgroup2"});
    }
  }
  return all;
}

// Processors that one group may use, 0 for all.
double quota_of(const std::string& folder, bool v2) {
  double quota = 0, period = 0;
  if (v2) {
    std::ifstream(folder + "/cpu.max") >> quota >> period;  // "max 100000" is no number
  } else {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;  // -1: all
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

// The group's folder, and those of its ancestors up to the mount.
double least_quota(const std::string& root, const Mount& mount, std::string group) {
  // A container may see its own group as the mount's root.
  if (mount.root != "/" && group.starts_with(mount.root)) group = group.substr(mount.root.size());
  double least = 0;
  for (;;) {
    while (group.ends_with('/')) group.pop_back();
    const double quota = quota_of(cat(root, mount.path, group), mount.v2);
    if (quota > 0) least = least > 0 ? std::min(least, quota) : quota;
    if (group.empty()) return least;
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

}  // namespace

double cpu_quota(const std::string& root) {
  const std::vector<Mount> all = mounts(root);
  double least = 0;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // HIERARCHY:CONTROLLERS:PATH, v2: 0::PATH
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    for (const Mount& mount : all) {
      if (mount.v2 != controllers.empty() || (!mount.v2 && !has_word(controllers, "cpu"))) continue;
      const double quota = least_quota(root, mount, line.substr(second + 1));
      if (quota > 0) least = least > 0 ? std::min(least, quota) : quota;
    }
  }
  return least;
}

int usable_cpus() {
  int count = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) count = std::max(1, CPU_COUNT(&mask));
  const double quota = cpu_quota("");
  return quota > 0 ? std::clamp(static_cast<int>(std::floor(quota)), 1, count) : count;
}

}  // namespace kvedit
