// Erasing spans of a session: what can be asked and what is reported. The methods are listed by
// erase_methods(); Session::erase applies one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kvedit/types.h"

namespace kvedit {

/// exact: what a fresh prefill of the remaining text gives with the same kernels, up to rounding.
enum class Exactness { exact, learned, approximate };
std::string_view name(Exactness exactness);

struct EraseOptions {
  std::string method = "recompute";
  int repair_window = 64;  // repair: tokens of the suffix forwarded again
  Progress progress;       // of the tokens to forward; return false to cancel
};

struct EraseReport {
  std::string method;
  Exactness exactness = Exactness::exact;
  std::vector<Span> spans;        // transcript tokens, before the erase; sorted, merged
  std::vector<std::string> text;  // of each span
  int tokens_erased = 0;
  int tokens_recomputed = 0;
  bool positions_changed = false;
  std::string note;  // e.g. that a policy was applied again
  double ms = 0;
  double plan_ms = 0;       // checks and the fork
  double forward_ms = 0;    // forward passes
  size_t bytes_before = 0;  // of this session's cache
  size_t bytes_after = 0;
};

struct EraseMethodInfo {
  std::string name;
  Exactness exactness;
  std::string cost;         // "suffix", "span", ...
  std::string description;  // one sentence
};

/// All methods, in the order of their table.
std::vector<EraseMethodInfo> erase_methods();

}  // namespace kvedit
