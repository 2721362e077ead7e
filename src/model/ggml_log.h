// ggml and libllama write to stderr unless told otherwise; a library of ours never does.
#pragma once

#include <string>

namespace kvedit {

/// Sends their lines to kvedit's sink at debug level. Done once a process; cheap to call again.
void route_ggml_logs();

/// Their last error on this thread, taken away: the reason to put in an Error. May be empty.
std::string take_ggml_error();

}  // namespace kvedit
