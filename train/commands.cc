#include "train/commands.h"

#include <unistd.h>

#include <csignal>
#include <iostream>

namespace kvedit::train {
namespace {

std::atomic<bool> stop{false};

void on_signal(int signal) {
  stop = true;
  std::signal(signal, SIG_DFL);
}

}  // namespace

void add_settings(CLI::App& command, const Settings& settings) {
  command.add_option("--config", "A JSON file of these settings; flags go before it");
  for (const Setting& setting : settings) {
    std::visit(
        [&](auto* value) {
          command.add_option("--" + setting.name, *value, setting.help)->capture_default_str();
        },
        setting.value);
  }
}

void apply_config(const CLI::App& command, const Settings& settings) {
  const CLI::Option* config = command.get_option("--config");
  if (config->count() > 0) {
    const Json flags = to_json(settings);
    read_config(settings, config->as<std::string>());
    for (const Setting& setting : settings) {
      if (command.get_option("--" + setting.name)->count() > 0)
        read_json(settings, {{setting.name, flags.at(setting.name)}});
    }
  }
  check(settings);
}

const std::atomic<bool>& interrupted() {
  static const bool armed = [] {
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, on_signal);
    return true;
  }();
  static_cast<void>(armed);
  return stop;
}

void print(const LoopResult& result) {
  const Json report = {{"steps", result.steps}, {"finished", result.finished}, {"best", result.best}};
  std::cout << report.dump(2) << "\n";
}

void say(const std::string& line) {
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  std::cerr << (terminal ? "\r\033[K" : "") << line << (terminal ? "" : "\n") << std::flush;
}

}  // namespace kvedit::train
