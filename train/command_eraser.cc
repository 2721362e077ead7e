#include <filesystem>
#include <memory>

#include "model/gguf_file.h"
#include "model/network.h"
#include "train/commands.h"
#include "train/eraser.h"
#include "train/export.h"

namespace kvedit::train {

void add_eraser(CLI::App& app) {
  add_training(app, "eraser", "KVEraser: an adapter for `kvedit erase --method steer`", train_eraser);
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
