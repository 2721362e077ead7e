#include <filesystem>
#include <iostream>
#include <memory>

#include "base/check.h"
#include "model/gguf_file.h"
#include "model/network.h"
#include "train/commands.h"
#include "train/eraser.h"
#include "train/export.h"

namespace kvedit::train {
namespace {

struct Eraser {
  EraserConfig config;
  EraserRun run;
};

void train(const CLI::App& command, Eraser& eraser) {
  settle(command, eraser.config.settings());
  if (eraser.config.model.empty() || eraser.config.texts.empty())
    fail(ErrorCode::invalid_argument, "train", "--model and --texts are needed");
  eraser.run.stop = &interrupted();
  eraser.run.say = say;
  const LoopResult result = train_eraser(eraser.config, eraser.run);
  const Json report = {{"steps", result.steps}, {"finished", result.finished}, {"best", result.best}};
  std::cout << report.dump(2) << "\n";
}

}  // namespace

void add_eraser(CLI::App& app) {
  const auto eraser = std::make_shared<Eraser>();
  CLI::App* command = app.add_subcommand("eraser", "KVEraser: an adapter for `kvedit erase --method steer`");
  command->add_option("--out", eraser->run.folder, "Folder of the run")->required();
  command->add_flag("--resume", eraser->run.resume, "Goes on from the folder's checkpoint");
  add_settings(*command, eraser->config.settings());
  command->callback([command, eraser] { train(*command, *eraser); });
}

void add_export(CLI::App& app) {
  struct Paths {
    std::string model, adapter, out;
  };
  const auto paths = std::make_shared<Paths>();
  CLI::App* command = app.add_subcommand("export", "Writes an adapter in another format");
  command->add_option("--model", paths->model, "The GGUF file that it was trained for")->required();
  command->add_option("--adapter", paths->adapter, "An *.eraser.gguf, or a PEFT folder")->required();
  command->add_option("--out", paths->out, "A *.gguf file; else a PEFT folder")->required();
  command->callback([paths] {
    const auto network = Network::load(paths->model);
    const LoraTensors lora = lora_tensors(*Lora::load(paths->adapter, *network));
    if (!paths->out.ends_with(".gguf")) return write_peft_folder(lora, *network, paths->out);
    Json notes;
    if (!std::filesystem::is_directory(paths->adapter)) {
      const auto text = GgufFile(paths->adapter).metadata().text("kvedit.training");
      if (text) notes = Json::parse(*text, nullptr, false);
    }
    write_adapter(lora, *network, notes, paths->out);
  });
}

}  // namespace kvedit::train
