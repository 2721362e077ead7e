// Memory of each side, as the kernel counts it for a process of its own that loads the model and does the
// work.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kvedit/model.h"
#include "kvedit/session.h"

namespace kvedit::bench {

/// Work to do in the child: read `length` tokens, evict if `policy` is not empty, decode `tokens` more.
struct MemoryWork {
  std::string side;  // "ours" or "peer"
  int length = 0;
  int tokens = 0;
  std::string policy = {};
  std::string keep = {};
  bool flash_attention = true;  // the peer's
};
struct MemoryJob {
  MemoryWork work;
  std::string model;
  ModelOptions load;
  SessionOptions session;
};

/// Resident bytes; weights mapped from the file count as far as they were read.
struct Memory {
  double peak = 0;
  double resident = 0;  // when the work is done
};

/// In the child: does the work.
Memory do_memory_job(const MemoryJob& job);

/// In the parent: runs `program arguments...` and waits; it prints
/// {"peak_memory_bytes": n, "resident_bytes": n}. Each list of arguments runs once.
class MemoryMeter {
 public:
  /// program empty: nothing is measured. common: arguments of every child.
  MemoryMeter(std::string program, std::vector<std::string> common)
      : program_(std::move(program)), common_(std::move(common)) {}
  /// Throws Error(io) with what the child wrote when it failed.
  std::optional<Memory> measure(const MemoryWork& work);

 private:
  std::string program_;
  std::vector<std::string> common_;
  std::map<std::vector<std::string>, Memory> known_;
};

}  // namespace kvedit::bench
