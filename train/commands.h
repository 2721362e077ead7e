// The subcommands of kvedit-train, one file each.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <atomic>
#include <memory>
#include <string>

#include "tools/text.h"
#include "train/loop.h"

namespace kvedit::train {

void add_eraser(CLI::App& app);
void add_export(CLI::App& app);
void add_lkv(CLI::App& app);

/// Adds a flag for each setting, and --config FILE, whose values the flags override.
void add_settings(CLI::App& command, const Settings& settings);
/// Reads --config beneath the flags given. Throws what read_config and check() do.
void apply_config(const CLI::App& command, const Settings& settings);

/// Prints the run's figures on standard output.
void print(const LoopResult& result);

/// Tells whether Ctrl-C was pressed; a second one ends the process.
const std::atomic<bool>& interrupted();
/// Writes one line on stderr; on a terminal it replaces the last one.
void say(const std::string& line);

/// Adds a subcommand that trains: --out, --resume and the settings' flags.
template <typename Config>
void add_training(CLI::App& app, const std::string& name, const std::string& description,
                  LoopResult (*train)(Config config, const RunOptions& run)) {
  struct Given {
    Config config;
    RunOptions run;
  };
  const auto given = std::make_shared<Given>();
  CLI::App* command = app.add_subcommand(name, description);
  command->add_option("--out", given->run.folder, "Folder of the run")->required();
  command->add_flag("--resume", given->run.resume, "Goes on from the folder's checkpoint");
  add_settings(*command, given->config.settings());
  command->callback([command, given, train] {
    apply_config(*command, given->config.settings());
    if (given->config.model.empty() || given->config.texts.empty())
      fail(ErrorCode::invalid_argument, "train", "--model and --texts are needed");
    given->run.stop = &interrupted();
    given->run.say = say;
    print(train(given->config, given->run));
  });
}

}  // namespace kvedit::train
