// The options of `run` and `chat` that say how text is drawn.
#pragma once

#include <CLI/App.hpp>

#include "kvedit/session.h"

namespace kvedit::cli {

void add_sampling(CLI::App& command, GenerateOptions& options);

}  // namespace kvedit::cli
