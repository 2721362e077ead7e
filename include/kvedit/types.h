// Small value types used everywhere.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace kvedit {

using Token = int32_t;
using Position = int32_t;

/// Stands for the token in front of a text's first one.
inline constexpr Token kNoToken = -1;

/// A stretch of a text. In that of a chat format control tokens are recognised by name, in a plain one not.
struct TextPart {
  std::string_view text;
  bool special = false;
};

/// A half-open range [begin, end) of transcript indices (or of positions, where said so).
struct Span {
  int begin = 0;
  int end = 0;
  int size() const { return end - begin; }
  bool operator==(const Span&) const = default;
};

/// How projections (linear layers) are computed; see docs/design.md for what was measured.
enum class LinearKernel {
  automatic,   // by the CPU's features: bf16, else int8_dense, else ggml
  ggml,        // ggml's own kernels on the quantised weights
  f32,         // weights dequantised, f32 throughout: the reference for exactness
  f32_dense,   // f32 for many tokens, dot kernels on 8-bit activations for few
  bf16,        // bf16 products for many tokens (more than 128), 8-bit activations for fewer
  int8_dense,  // 8-bit activations for any number
};

enum class CacheType { f16, f32 };

/// Memory of all caches of a model.
struct PoolStats {
  size_t page_bytes = 0;  // one page, its bookkeeping included
  size_t pages_in_use = 0;
  size_t bytes_in_use = 0;      // pages_in_use * page_bytes
  size_t high_water_bytes = 0;  // the largest bytes_in_use since creation
  size_t resident_bytes = 0;    // what the system holds for pages; with huge pages more than is in use
  size_t limit_bytes = 0;       // 0: none
};

/// A parameter of a policy, an erase method or an evaluation task, with its default.
struct Parameter {
  std::string name;
  double value = 0;
  std::string description;
  double minimum = 0;
  double maximum = 0;
  bool whole = true;                 // takes whole numbers only
  std::vector<std::string> choices;  // a parameter given by a word: value is an index into these
  bool free_text = false;            // takes any text, such as a path: then `text` is the default
  std::string text;
};

/// A message of a conversation.
struct Message {
  std::string role;  // "system", "developer", "user", "assistant" or "tool"; another one is an
                     // Error(invalid_argument)
  std::string content;
};

/// Called between blocks of long work with the tokens done and their total; return false to cancel.
using Progress = std::function<bool(size_t done, size_t total)>;

/// When to give up: at another thread's request, or at a time. Work looks at it between two nodes of a
/// forward pass, between messages and between pages of a file; it then throws Error(cancelled), having done
/// nothing, or ends with what it has made, as it does for its callback.
struct Cancel {
  std::stop_token token;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  bool requested() const;
};

/// Receives the library's log lines; levels as in syslog: 3 error, 4 warning, 6 info, 7 debug.
using LogSink = std::function<void(int level, std::string_view line)>;

/// Sets the one logging sink of the process (none by default: silence).
void set_log_sink(LogSink sink);

}  // namespace kvedit
