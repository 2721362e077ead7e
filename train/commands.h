// The subcommands of kvedit-train, one file each.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <atomic>
#include <string>

#include "train/config.h"

namespace kvedit::train {

void add_eraser(CLI::App& app);
void add_export(CLI::App& app);
void add_lkv(CLI::App& app);

/// A flag for each setting, and --config FILE, which they go before.
void add_settings(CLI::App& command, const Settings& settings);
/// Reads --config beneath the flags that were given. Throws what read_config and check() do.
void settle(const CLI::App& command, const Settings& settings);

/// Set by Ctrl-C; a second one ends the process.
const std::atomic<bool>& interrupted();
/// One line on stderr; on a terminal the last one is written over.
void say(const std::string& line);

}  // namespace kvedit::train
