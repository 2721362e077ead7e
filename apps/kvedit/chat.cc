// kvedit chat: a conversation whose memory can be edited while it goes on.
#include <editline/readline.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <optional>

#include "chat_state.h"
#include "commands.h"
#include "common.h"
#include "eraser.h"
#include "interrupt.h"
#include "sampling.h"
#include "table.h"

namespace kvedit::cli {
namespace {

const char* const chat_footer =
    "In the chat, /help lists the commands: /erase, /verify, /upgrade, /sync, /evict, /fork, /undo, ...\n"
    "Examples:\n"
    "  kvedit chat\n"
    "  kvedit chat --system 'Answer in one sentence.' --temperature 0.7 --top-p 0.9\n"
    "  kvedit chat --session talk.kv\n"
    "  printf 'My code is 9023.\\n/erase My code is 9023. shift\\n/stats\\n' | kvedit chat";

struct ChatCommand {
  CommonOptions common;
  GenerateOptions generate;
  std::string system;
  std::string session;
  std::string adapter;
  CapOptions cap;
  SessionOptions options;
};

/// Lines with editing and history on a terminal, plain ones from a pipe.
class LineReader {
 public:
  LineReader()
      : terminal_(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)), history_(cache_folder() + "/chat_history") {
    if (!terminal_) return;
    using_history();
    stifle_history(1000);
    read_history(history_.c_str());  // there is none the first time
  }
  ~LineReader() {
    if (terminal_) write_history(history_.c_str());
  }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool terminal() const { return terminal_; }
  std::optional<std::string> next() {
    std::string line;
    if (!terminal_) return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
    const std::unique_ptr<char, void (*)(void*)> text(readline("> "), std::free);
    if (!text) return std::nullopt;
    if (*text) add_history(text.get());
    return text.get();
  }

 private:
  bool terminal_;
  std::string history_;
};

ChatState start(const ChatCommand& command) {
  const std::shared_ptr<Model> model = load_model(command.common);
  if (!model->info().has_chat_template) {
    throw Error(ErrorCode::unsupported, "chat",
                model->info().name +
                    " is a base model without a chat template: use `kvedit run --raw`, or name a "
                    "template with --chat-template");
  }
  const bool resume = !command.session.empty() && file_exists(command.session);
  ChatState chat{
      Prompt(*model, false),
      resume ? Session::load(model, command.session, command.options) : Session(model, command.options),
      {},
      command.session,
      command.generate,
      nullptr,
      command.options,
      command.cap};
  set_cap(chat.session, command.cap);
  chat.adapter = eraser(*model, command.adapter, {});
  if (resume && !command.system.empty()) {
    throw Error(ErrorCode::invalid_argument, "chat", command.session + " exists: --system is for a new chat");
  }
  if (!command.system.empty()) chat.prompt.append_system(chat.session, command.system);
  return chat;
}

Json say(ChatState& chat, const std::string& text, bool stream) {
  {
    ProgressLine line("reading, tokens");
    chat.prompt.append_user(chat.session, text, line.progress());
  }
  chat.generate.on_text = [stream](std::string_view piece) {
    if (stream) std::cout << piece << std::flush;
    return std::cout.good() && !interrupted();
  };
  const Generation generation = chat.session.generate(chat.generate);
  if (stream) {
    const bool whole = generation.stop == StopReason::end_token || generation.stop == StopReason::stop_string;
    std::cout << (whole ? "" : " [" + std::string(name(generation.stop)) + "]") << std::endl;
    if (!generation.error.empty()) std::cerr << "kvedit: " << generation.error << "\n";
  }
  return {{"text", generation.text},
          {"tokens", generation.tokens.size()},
          {"stop", name(generation.stop)},
          {"error", generation.error},
          {"first_token_ms", generation.first_token_ms},
          {"ms", generation.ms}};
}

void run(const ChatCommand& command) {
  ChatState chat = start(command);
  LineReader lines;
  const bool json = command.common.json;  // one object a reply; what slash commands print stays text
  if (lines.terminal() && !json) {
    std::cout << chat.session.model()->info().name << "; /help lists the commands, Ctrl-D leaves\n";
  }
  while (std::cout) {
    arm_interrupt();
    const std::optional<std::string> line = lines.next();
    if (!line) {
      if (lines.terminal()) std::cout << std::endl;
      if (interrupted() && lines.terminal()) continue;
      break;
    }
    const std::string text = trim(*line);
    if (text.empty()) continue;
    try {
      if (text.front() == '/') {
        if (!run_slash_command(chat, text)) break;
      } else {
        const Json reply = say(chat, text, !json);
        if (json) print_json(reply, -1);
      }
    } catch (const Error& error) {  // says what went wrong; the chat goes on
      if (json) {
        print_json({{"error", {{"code", name(error.code())}, {"message", error.what()}}}}, -1);
      } else {
        std::cout << std::flush;
        std::cerr << "kvedit: " << error.what() << std::endl;
      }
    }
    if (interrupted() && !lines.terminal()) throw CLI::RuntimeError(exit_cancelled);
  }
}

}  // namespace

void add_chat(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("chat", "Talk with the model and edit its memory meanwhile");
  auto command = std::make_shared<ChatCommand>();
  sub->add_option("--system", command->system, "The system's message")->type_name("TEXT");
  sub->add_option("--session", command->session, "Go on from this session, if it exists; /save writes it")
      ->type_name("FILE");
  sub->add_option("--adapter", command->adapter,
                  "The eraser for steer: a LoRA GGUF or a PEFT folder (default: the one "
                  "that ships for the model)")
      ->type_name("PATH");
  add_cap(*sub, command->cap);
  add_swa(*sub, command->options.swa);
  add_sampling(*sub, command->generate);
  add_common(*sub, command->common);
  sub->footer(chat_footer);
  sub->callback([command] { run(*command); });
}

}  // namespace kvedit::cli
