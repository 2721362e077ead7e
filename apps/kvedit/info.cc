// kvedit info: what a model file holds and how it would run here.
#include <iostream>

#include "base/fingerprint.h"
#include "commands.h"
#include "common.h"
#include "table.h"

namespace kvedit::cli {
namespace {

Json info_json(const ModelInfo& info, double load_ms) {
  return {{"architecture", info.architecture},
          {"name", info.name},
          {"path", info.path},
          {"weight_types", info.weight_types},
          {"weight_bytes", info.weight_bytes},
          {"layers", info.layers},
          {"d_model", info.d_model},
          {"d_ff", info.d_ff},
          {"heads", info.heads},
          {"kv_heads", info.kv_heads},
          {"key_dim", info.key_dim},
          {"vocabulary", info.vocabulary},
          {"context_length", info.context_length},
          {"window", info.window},
          {"sliding_layers", info.sliding_layers},
          {"cache_bytes_per_token", info.bytes_per_token},
          {"fingerprint", fingerprint_text(info.fingerprint)},
          {"has_chat_template", info.has_chat_template},
          {"linear", info.linear},
          {"attention", info.attention},
          {"threads", info.threads},
          {"load_ms", load_ms}};
}

void run(const CommonOptions& options) {
  const Stopwatch watch;
  const std::shared_ptr<Model> model = load_model(options);
  const Json json = info_json(model->info(), watch.ms());
  if (options.json) return print_json(json);
  Table table({"property", "value"});
  for (const auto& [key, value] : json.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (key == "load_ms") text = milliseconds(value);
    if (key.find("bytes") != std::string::npos) text = grouped(value);
    table.add({key, text});
  }
  table.print(std::cout);
}

}  // namespace

void add_info(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("info", "Show what a model file holds and how it would run here");
  auto options = std::make_shared<CommonOptions>();
  sub->add_option("MODEL", options->model, "GGUF file; the same as -m");
  add_common(*sub, *options);
  sub->footer("Examples:\n  kvedit info\n  kvedit info gemma-3-270m.Q4_K_M.gguf --json");
  sub->callback([options] { run(*options); });
}

}  // namespace kvedit::cli
