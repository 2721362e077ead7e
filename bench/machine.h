// What a timing depends on besides the code.
#pragma once

#include <string>
#include <vector>

namespace kvedit::bench {

struct Machine {
  std::string cpu;                    // model name, or "unknown"
  std::vector<std::string> features;  // those of its instruction sets that our kernels or ggml's care about
  int cores = 0;                      // usable by this process

  bool amx() const;
};

Machine this_machine();

}  // namespace kvedit::bench
