#include "base/cpus.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tiny_model.h"

namespace kvedit {
namespace {

namespace fs = std::filesystem;

// A machine's files under a folder of its own.
class Machine {
 public:
  Machine() : root_(temporary_path("machine")) { fs::remove_all(root_); }
  void put(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    write_file(root_ + path, text);
  }
  void version_2(const std::string& group) const {
    put("/proc/self/cgroup", "0::" + group + "\n");
    put("/proc/self/mountinfo",
        "22 1 8:1 / / rw - ext4 /dev/sda rw\n30 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
  }
  double quota() const { return cpu_quota(root_); }

 private:
  std::string root_;
};

TEST(CpusTest, NoGroupMeansNoQuota) {
  const Machine machine;
  EXPECT_EQ(machine.quota(), 0);
  machine.version_2("/");
  EXPECT_EQ(machine.quota(), 0);
  machine.put("/sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(machine.quota(), 0);
}

TEST(CpusTest, TheLeastQuotaOfAllAncestorsHolds) {
  const Machine machine;
  machine.version_2("/pod/job/step");
  machine.put("/sys/fs/cgroup/pod/job/step/cpu.max", "800000 100000\n");
  machine.put("/sys/fs/cgroup/pod/job/cpu.max", "max 100000\n");
  machine.put("/sys/fs/cgroup/pod/cpu.max", "150000 100000\n");
  EXPECT_DOUBLE_EQ(machine.quota(), 1.5);
}

TEST(CpusTest, VersionOneIsRead) {
  const Machine machine;
  machine.put("/proc/self/cgroup", "5:memory:/a\n4:cpu,cpuacct:/a/b\n0::/\n");
  machine.put("/proc/self/mountinfo",
              "31 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
              "32 22 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  machine.put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
  machine.put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
  machine.put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n");
  machine.put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(machine.quota(), 0.5);
}

TEST(CpusTest, AContainersOwnGroupIsTheMountsRoot) {
  const Machine machine;
  machine.put("/proc/self/cgroup", "0::/docker/abc/inner\n");
  machine.put("/proc/self/mountinfo", "30 22 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  machine.put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_DOUBLE_EQ(machine.quota(), 2);
}

TEST(CpusTest, TheAffinityMaskCounts) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  int first = 0;
  while (!CPU_ISSET(first, &before)) first++;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_cpus(), 1);
  sched_setaffinity(0, sizeof before, &before);
  EXPECT_LE(usable_cpus(), CPU_COUNT(&before));
}

}  // namespace
}  // namespace kvedit
