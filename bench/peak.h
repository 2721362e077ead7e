// Peak memory of each side: VmHWM of a process of its own that loads the model and does the work.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kvedit/model.h"

namespace kvedit::bench {

/// Work to do in the child: read `length` tokens, evict if `policy` is not empty, decode `tokens` more.
struct PeakJob {
  std::string side;  // "ours" or "peer"
  std::string model;
  ModelOptions load;
  int length = 0;
  int tokens = 0;
  std::string policy;
  std::string keep;
};

/// In the child: does the work, returns the peak of resident memory in bytes. Weights mapped from the
/// file count as far as they were read.
size_t do_peak_job(const PeakJob& job);

/// In the parent: runs `program arguments...` and waits; it prints {"peak_memory_bytes": n}. Each
/// list of arguments runs once.
class PeakMeter {
 public:
  /// program empty: nothing is measured. common: arguments of every child.
  PeakMeter(std::string program, std::vector<std::string> common)
      : program_(std::move(program)), common_(std::move(common)) {}
  /// Throws Error(io) with what the child wrote when it failed.
  std::optional<double> bytes(const std::string& side, int length, int tokens, const std::string& policy = {},
                              const std::string& keep = {});

 private:
  std::string program_;
  std::vector<std::string> common_;
  std::map<std::vector<std::string>, double> known_;
};

}  // namespace kvedit::bench
