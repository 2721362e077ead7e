// What `run` and `chat` share: the options that say how text is drawn, and what is told of how it ended.
#pragma once

#include <CLI/App.hpp>

#include "kvedit/session.h"

namespace kvedit::cli {

void add_sampling(CLI::App& command, GenerateOptions& options);

/// Tells whether the text ended otherwise than by its own end or a stop string.
bool cut_short(const Generation& generation);
/// Counts the positions that edits left unused, where the context is full though its tokens would fit; else
/// 0.
int unused_positions(const Session& session, const Generation& generation);

}  // namespace kvedit::cli
