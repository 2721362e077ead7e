// ggml and libllama write to stderr unless told otherwise; a library of ours never does.
#pragma once

#include <string>

namespace kvedit {

/// Sends the lines of ggml and libllama to kvedit's sink at debug level. Done once a process; cheap to call
/// again.
void route_ggml_logs();

/// Takes away the last error that ggml and libllama logged on this thread; it may be empty.
std::string take_ggml_error();

}  // namespace kvedit
