// Memory of each runtime, as the kernel counts it for a process of its own that loads the model and does the
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

/// The work of a child process: read `length` tokens, evict if `policy` is not empty, decode `tokens` more.
struct MemoryWork {
  std::string side;  // "ours" or "peer"
  int length = 0;
  int tokens = 0;
  std::string policy = {};
  std::string keep = {};
  bool flash_attention = true;  // of the peer
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

/// Does the work, in the child.
Memory do_memory_job(const MemoryJob& job);

/// Runs `program arguments...` from the parent, each list of arguments once, and reads the line that it
/// prints: {"peak_memory_bytes": n, "resident_bytes": n}.
class MemoryMeter {
 public:
  /// program empty: measures nothing. common: arguments of every child.
  MemoryMeter(std::string program, std::vector<std::string> common)
      : program_(std::move(program)), common_(std::move(common)) {}
  /// Throws Error(io) with the failed child's output.
  std::optional<Memory> measure(const MemoryWork& work);

 private:
  std::string program_;
  std::vector<std::string> common_;
  std::map<std::vector<std::string>, Memory> known_;
};

}  // namespace kvedit::bench
