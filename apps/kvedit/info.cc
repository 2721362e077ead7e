// kvedit info: what a model file holds and how it would run here, or what a saved session holds.
#include <fstream>
#include <iostream>

#include "commands.h"
#include "common.h"
#include "report.h"
#include "said.h"
#include "table.h"
#include "tools/fingerprint.h"

namespace kvedit::cli {
namespace {

constexpr std::string_view kSessionMagic = "KVEDSNAP";

struct InfoCommand {
  CommonOptions common;
  std::string file;
};

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

bool is_session(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic(kSessionMagic.size(), '\0');
  return file.read(magic.data(), static_cast<std::streamsize>(magic.size())) && magic == kSessionMagic;
}

/// Tells the contents of a saved session.
void run_session(const InfoCommand& command) {
  const Session session = Session::load(load_model(command.common), command.file);
  const SessionStats stats = session.stats();
  if (command.common.json) {
    Json json = {{"session", command.file}, {"model", session.model()->info().name}};
    json.update(stats_json(stats));
    json["messages"] = messages_json(session);
    return print_json(json);
  }
  std::cout << command.file << ", of " << session.model()->info().name << "\n\n";
  print_stats(std::cout, stats);
  const std::vector<MessageSpan> messages = session.messages();
  if (!messages.empty()) std::cout << "\n";
  for (const MessageSpan& message : messages)
    std::cout << place_name(messages, message.tokens) << ": " << one_line(message.text) << "\n";
}

void run(const InfoCommand& command) {
  if (is_session(command.file)) return run_session(command);
  CommonOptions options = command.common;
  if (!command.file.empty()) options.model = command.file;
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
  CLI::App* const sub = app.add_subcommand("info", "Show what a model file or a saved session holds");
  auto command = std::make_shared<InfoCommand>();
  sub->add_option("FILE", command->file, "A GGUF file, the same as -m; or a saved session of the model");
  add_common(*sub, command->common);
  sub->footer(
      "Examples:\n  kvedit info\n  kvedit info gemma-3-270m.Q4_K_M.gguf --json\n  kvedit info talk.kv");
  sub->callback([command] { run(*command); });
}

}  // namespace kvedit::cli
