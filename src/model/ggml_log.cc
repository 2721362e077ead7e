#include "model/ggml_log.h"

#include <ggml.h>
#include <llama.h>

#include <mutex>
#include <string_view>
#include <utility>

#include "base/log.h"

namespace kvedit {
namespace {

thread_local std::string last_error;

void receive(ggml_log_level level, const char* text, void* /*user_data*/) {
  std::string_view line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.remove_suffix(1);
  if (line.empty() || line == ".") return;
  // The first error names the cause; those after it only say who gave up.
  if (level == GGML_LOG_LEVEL_ERROR && last_error.empty()) last_error = line;
  log(kLogDebug, line);
}

}  // namespace

void route_ggml_logs() {
  static std::once_flag once;
  std::call_once(once, [] {
    ggml_log_set(receive, nullptr);
    llama_log_set(receive, nullptr);
  });
}

std::string take_ggml_error() { return std::exchange(last_error, {}); }

}  // namespace kvedit
