// The table of subcommands. Each add_* registers one on the application: its options, its help with
// examples, and a callback that does the work and throws kvedit::Error.
#pragma once

#include <CLI/App.hpp>

namespace kvedit::cli {

void add_run(CLI::App& app);
void add_chat(CLI::App& app);
void add_erase(CLI::App& app);
void add_evict(CLI::App& app);
void add_policies(CLI::App& app);
void add_methods(CLI::App& app);
void add_info(CLI::App& app);
void add_demo(CLI::App& app);
void add_eval(CLI::App& app);
void add_bench(CLI::App& app);

}  // namespace kvedit::cli
