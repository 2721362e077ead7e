#include <iostream>
#include <memory>

#include "base/check.h"
#include "train/commands.h"
#include "train/lkv.h"

namespace kvedit::train {
namespace {

struct LkvCommand {
  LkvConfig config;
  LkvRun run;
};

void train_file(const CLI::App& command, LkvCommand& lkv) {
  settle(command, lkv.config.settings());
  if (lkv.config.model.empty() || lkv.config.texts.empty())
    fail(ErrorCode::invalid_argument, "train", "--model and --texts are needed");
  lkv.run.stop = &interrupted();
  lkv.run.say = say;
  const LoopResult result = train_lkv(lkv.config, lkv.run);
  const Json report = {{"steps", result.steps}, {"finished", result.finished}, {"best", result.best}};
  std::cout << report.dump(2) << "\n";
}

}  // namespace

void add_lkv(CLI::App& app) {
  const auto lkv = std::make_shared<LkvCommand>();
  CLI::App* command = app.add_subcommand("lkv", "LKV: budgets and scores for `kvedit evict --policy lkv`");
  command->add_option("--out", lkv->run.folder, "Folder of the run")->required();
  command->add_flag("--resume", lkv->run.resume, "Goes on from the folder's checkpoint");
  add_settings(*command, lkv->config.settings());
  command->callback([command, lkv] { train_file(*command, *lkv); });
}

}  // namespace kvedit::train
