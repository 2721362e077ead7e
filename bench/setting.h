// What all rows of a run share, and the flags that reproduce it.
#pragma once

#include <string>
#include <vector>

#include "kvedit/model.h"

namespace kvedit::bench {

/// What a timing depends on besides the code.
struct Machine {
  std::string cpu;                    // model name, or "unknown"
  std::vector<std::string> features;  // instruction sets that our kernels or ggml's care about
  int cores = 0;                      // number usable by this process

  bool amx() const;
};

Machine this_machine();

struct Setting {
  std::string model;  // path
  std::string weight_types;
  std::string linear;  // kernels that we use
  std::string attention;
  std::string peer_version;  // or empty
  std::string peer_build;    // instruction sets that the peer was compiled for, or empty
  bool amx = false;          // our projections use it
  Machine machine;
  int threads = 0;
  int repeat = 0;
  std::string flags;  // end of every command: "--repeat 3 --peer llama.cpp --json ..."
};

/// Returns the flags that load this model again in the same way, its threads spelled out.
std::vector<std::string> load_flags(const ModelInfo& info, const ModelOptions& options);
Setting make_setting(const ModelInfo& info, const ModelOptions& options, int repeat, bool peer);

}  // namespace kvedit::bench
