// kvedit chat: a conversation whose memory can be edited while it goes on.
#include <histedit.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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
    "A text of several lines is pasted, or stands between \"\"\" and \"\"\".\n"
    "Examples:\n"
    "  kvedit chat\n"
    "  kvedit chat --system 'Answer in one sentence.' --temperature 0.7 --top-p 0.9\n"
    "  kvedit chat -f manual.txt -f prices.txt\n"
    "  kvedit chat --session talk.kv\n"
    "  printf 'My code is 9023.\\n/erase My code is 9023. shift\\n/stats\\n' | kvedit chat";

struct ChatCommand {
  CommonOptions common;
  GenerateOptions generate;
  std::string system;
  std::vector<std::string> files;
  std::string session;
  std::string adapter;
  CapOptions cap;
  SessionOptions options;
};

constexpr int kHistory = 1000;  // lines
constexpr std::string_view kBlock = "\"\"\"";

// Terminals put these around what is pasted, if asked to.
constexpr const char* kMarkPastes = "\033[?2004h";
constexpr const char* kNoMarks = "\033[?2004l";
constexpr const char* kPasteBegins = "\\e[200~";
constexpr std::wstring_view kPasteEnds = L"\033[201~";

unsigned char take_paste(EditLine* editor, int) {
  std::wstring text;
  wchar_t character = 0;
  while (el_wgetc(editor, &character) == 1) {
    text += character == L'\r' ? L'\n' : character;
    if (!text.ends_with(kPasteEnds)) continue;
    text.resize(text.size() - kPasteEnds.size());
    break;
  }
  while (text.ends_with(L'\n')) text.pop_back();
  return el_winsertstr(editor, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
}

// Lines of a chat: with editing and history on a terminal, plain ones from a pipe.
class LineReader {
 public:
  LineReader();
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool terminal() const { return editor_ != nullptr; }
  /// The next line; what is pasted, or stands between """ and """, is one with line breaks in it. Nothing at
  /// the input's end, or at Ctrl-C.
  std::optional<std::string> next();

 private:
  struct Editor;
  std::optional<std::string> line(const char* prompt);
  std::unique_ptr<Editor> editor_;  // of a terminal
};

struct LineReader::Editor {
  Editor() : file(cache_folder() + "/chat_history") {
    el_set(edit, EL_EDITOR, "emacs");
    el_set(edit, EL_CLIENTDATA, this);
    el_set(
        edit, EL_PROMPT, +[](EditLine* e) {
          Editor* self = nullptr;
          el_get(e, EL_CLIENTDATA, &self);
          return const_cast<char*>(
              self->prompt);  // NOLINT(cppcoreguidelines-pro-type-const-cast): it is only printed
        });
    el_set(edit, EL_ADDFN, "kvedit-paste", "Insert what is pasted", take_paste);
    el_set(edit, EL_BIND, kPasteBegins, "kvedit-paste", nullptr);
    el_set(edit, EL_HIST, ::history, lines);
    el_source(edit, nullptr);
    HistEvent event;
    ::history(lines, &event, H_SETSIZE, kHistory);
    ::history(lines, &event, H_LOAD, file.c_str());  // there is none the first time
  }
  ~Editor() {
    HistEvent event;
    ::history(lines, &event, H_SAVE, file.c_str());
    history_end(lines);
    el_end(edit);
  }
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;

  EditLine* edit = el_init("kvedit", stdin, stdout, stderr);
  History* lines = history_init();
  std::string file;
  const char* prompt = "";
};

LineReader::LineReader() {
  if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) editor_ = std::make_unique<Editor>();
}

LineReader::~LineReader() = default;

std::optional<std::string> LineReader::line(const char* prompt) {
  if (!editor_) {
    std::string text;
    return std::getline(std::cin, text) ? std::optional(text) : std::nullopt;
  }
  editor_->prompt = prompt;
  std::cout << kMarkPastes << std::flush;
  int length = 0;
  const char* const read = el_gets(editor_->edit, &length);
  std::cout << kNoMarks << std::flush;
  if (read == nullptr || length <= 0) return std::nullopt;
  std::string text(read, length);
  while (text.ends_with('\n')) text.pop_back();
  HistEvent event;
  if (!text.empty()) ::history(editor_->lines, &event, H_ENTER, text.c_str());
  return text;
}

std::optional<std::string> LineReader::next() {
  std::optional<std::string> text = line("> ");
  if (!text || !text->starts_with(kBlock)) return text;
  std::string block = text->substr(kBlock.size());
  while (!block.ends_with(kBlock)) {
    const std::optional<std::string> more = line(". ");
    if (!more) return block;
    block += "\n" + *more;
  }
  block.resize(block.size() - kBlock.size());
  return block;
}

ChatState start(const ChatCommand& command) {
  require_writable(command.session);
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
      command.cap,
      command.system,
      command.common.json};
  set_cap(chat.session, command.cap);
  chat.adapter = eraser(*model, command.adapter, {});
  if (resume && !command.system.empty()) {
    throw Error(ErrorCode::invalid_argument, "chat", command.session + " exists: --system is for a new chat");
  }
  if (!command.system.empty()) chat.prompt.append_system(chat.session, command.system);
  for (const std::string& file : command.files) read_document(chat, file);
  return chat;
}

void handle_line(ChatState& chat, const std::string& line, bool& leave) {
  const std::string text = trim(line);
  if (text.empty()) return;
  try {
    if (text.front() == '/' && text.find('\n') == std::string::npos) {
      leave = !run_slash_command(chat, text);
      return;
    }
    {
      ProgressLine progress("reading, tokens");
      chat.prompt.append_user(chat.session, text, progress.progress());
    }
    const Json reply = reply_to_user(chat);
    if (chat.json) print_json(reply, -1);
  } catch (const Error& error) {  // says what went wrong; the chat goes on
    print_error(to_string(error.code()), error.what(), chat.json, -1);
  }
}

void run(const ChatCommand& command) {
  ChatState chat = start(command);
  LineReader lines;
  if (lines.terminal() && !chat.json) {
    std::cout << chat.session.model()->info().name << "; /help lists the commands, Ctrl-D leaves\n";
  }
  bool leave = false;
  while (std::cout && !leave) {
    arm_interrupt();
    const std::optional<std::string> line = lines.next();
    if (line) {
      handle_line(chat, *line, leave);
    } else {
      if (lines.terminal()) std::cout << std::endl;
      leave = !(interrupted() && lines.terminal());
    }
    if (interrupted() && !lines.terminal()) throw CLI::RuntimeError(exit_cancelled);
  }
}

}  // namespace

Json reply_to_user(ChatState& chat) {
  const bool stream = !chat.json;
  chat.generate.on_text = [stream](std::string_view piece) {
    if (stream) std::cout << piece << std::flush;
    return std::cout.good() && !interrupted();
  };
  const Generation generation = chat.session.generate(chat.generate);
  if (stream) {
    std::cout << (cut_short(generation) ? " [" + std::string(to_string(generation.stop)) + "]" : "")
              << std::endl;
    if (const int unused = unused_positions(chat.session, generation); unused > 0)
      std::cerr << "kvedit: edits have left " << unused << " positions unused; /upgrade frees them\n";
    if (!generation.error.empty()) std::cerr << "kvedit: " << with_flags(generation.error) << "\n";
  }
  return {{"text", generation.text},
          {"tokens", generation.tokens.size()},
          {"stop", to_string(generation.stop)},
          {"error", generation.error},
          {"first_token_ms", generation.first_token_ms},
          {"ms", generation.ms}};
}

int read_document(ChatState& chat, const std::string& file) {
  const std::string text = trim(read_file(file));
  if (text.empty()) refuse("chat", "the file " + file + " is empty");
  ProgressLine line("reading " + file + ", tokens");
  try {
    return chat.prompt.append_context(chat.session, text, line.progress()).tokens.size();
  } catch (const Error& error) {
    throw extended(error, " (file " + file + ")");
  }
}

void add_chat(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("chat", "Talk with the model and edit its memory meanwhile");
  auto command = std::make_shared<ChatCommand>();
  sub->add_option("--system", command->system, "The system's message")->type_name("TEXT");
  sub->add_option("-f,--file", command->files, "Read this document first, and talk about it; repeatable")
      ->type_name("FILE")
      ->allow_extra_args(false);
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
