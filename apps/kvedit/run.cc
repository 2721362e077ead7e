// kvedit run: continues a prompt, a file or a session, streaming the text.
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iostream>

#include "commands.h"
#include "common.h"
#include "interrupt.h"
#include "prompt.h"
#include "sampling.h"
#include "table.h"
#include "tools/text.h"

namespace kvedit::cli {
namespace {

const char* const run_footer =
    "A model with a chat template gets the prompt as a user's message, unless --raw.\n"
    "Examples:\n"
    "  kvedit run 'Why is the sea salt?' -n 100\n"
    "  kvedit run 'Summarise this letter.' <letter.txt\n"
    "  kvedit run -f letter.txt --system 'Answer in French.' -p 'Summarise this letter.' --temperature 0.7 "
    "--top-p 0.9 --seed 1\n"
    "  echo 'Once upon a time' | kvedit run --raw -f - -n 50 --stop '.'\n"
    "  kvedit run -f book.txt -p 'Who is the narrator?' --cap 1024\n"
    "  kvedit run -p 'Hello' --save hello.kv; kvedit run --session hello.kv -p 'And in French?' --json";

struct RunCommand {
  CommonOptions common;
  GenerateOptions generate;
  CapOptions cap;
  SessionOptions options;
  std::string file;
  std::string prompt;
  std::string system;
  std::vector<std::string> words;
  std::string session;
  std::string save;
  bool chat = false;
  bool raw = false;
};

/// Appends file and prompt; returns the tokens that came in.
int append_input(const RunCommand& command, const std::string& text, Session& session) {
  const int before = session.stats().tokens;
  ProgressLine line("reading the prompt, tokens");
  try {
    const Prompt prompt(*session.model(), command.raw);
    if (!command.system.empty()) prompt.append_system(session, command.system);
    if (prompt.raw()) {
      session.append(text, false, line.progress());
    } else {
      prompt.append_user(session, text, line.progress());
    }
  } catch (const Error& error) {
    throw command.file.empty() ? error : extended(error, " (file " + command.file + ")");
  }
  return session.stats().tokens - before;
}

Json report_json(const Session& session, const Generation& generation, int prompt_tokens, double prefill_ms) {
  const double seconds = generation.ms / 1000;
  const SessionStats stats = session.stats();
  return {{"model", session.model()->info().name},
          {"text", generation.text},
          {"tokens", generation.tokens.size()},
          {"stop", to_string(generation.stop)},
          {"error", generation.error},
          {"prompt_tokens", prompt_tokens},
          {"prefill_ms", prefill_ms},
          {"first_token_ms", generation.first_token_ms},
          {"ms", generation.ms},
          {"tokens_per_second", seconds > 0 ? static_cast<double>(generation.tokens.size()) / seconds : 0},
          {"cache_bytes", stats.bytes},
          {"cache_high_water_bytes", stats.pool.high_water_bytes},
          {"cap_evictions", stats.cap_evictions},
          {"cache_entries", stats.entries},
          {"cache_full_entries", stats.full_entries}};
}

constexpr int kPatienceMs = 1000;

// Whether standard input is a file or a pipe, which was meant to be read. Beside a prompt a pipe that stays
// silent is not waited for: whoever started this program may just have left it open.
bool given_input(bool prompt) {
  struct stat input {};
  if (fstat(STDIN_FILENO, &input) != 0) return false;
  if (S_ISREG(input.st_mode)) return true;
  if (!S_ISFIFO(input.st_mode)) return false;
  pollfd pipe{STDIN_FILENO, POLLIN, 0};
  if (!prompt || poll(&pipe, 1, kPatienceMs) > 0) return true;
  std::cerr << "kvedit: standard input is silent and not waited for; -f - does\n";
  return false;
}

// Tells how much the cap has taken, which the reply cannot show.
void tell_cap(const SessionStats& stats) {
  if (stats.cap_evictions == 0) return;
  std::cerr << "kvedit: the cap (" << stats.cap_policy << ") keeps "
            << grouped(static_cast<long long>(stats.entries)) << " of "
            << grouped(static_cast<long long>(stats.full_entries)) << " entries; the rest is forgotten\n";
}

/// Tells that an upgrade frees what edits left unused of a full context.
void tell_positions(const Session& session, const Generation& generation) {
  const int unused = unused_positions(session, generation);
  if (unused == 0) return;
  std::cerr << "kvedit: " << grouped(unused) << " of " << grouped(session.stats().context_length)
            << " positions are left unused by edits; an upgrade frees them\n";
}

/// Prompt and file as one text; empty where only a session goes on.
std::string input_text(RunCommand& command) {
  if (!command.words.empty()) command.prompt = join(command.words, std::identity(), " ");  // they exclude -p
  if (command.file.empty() && command.session.empty() && given_input(!command.prompt.empty())) {
    if (const std::string text = read_file("-"); !text.empty()) {
      command.prompt = text + (command.prompt.empty() ? "" : "\n\n" + command.prompt);
    }
  }
  if (command.file.empty() && command.prompt.empty() && command.session.empty())
    refuse("run", "nothing to continue: give a PROMPT, -f FILE, standard input or --session FILE");
  std::string text = command.file.empty() ? "" : read_file(command.file);
  if (!command.file.empty() && text.empty()) refuse("run", "the file " + command.file + " is empty");
  if (!command.prompt.empty()) text += (text.empty() ? "" : "\n\n") + command.prompt;
  return text;
}

void tell(const RunCommand& command, const Session& session, const Generation& generation, int prompt_tokens,
          double prefill_ms) {
  if (command.common.json) return print_json(report_json(session, generation, prompt_tokens, prefill_ms));
  if (!generation.text.ends_with('\n')) std::cout << std::endl;
  if (cut_short(generation)) std::cerr << "kvedit: cut short by " << to_string(generation.stop) << "\n";
  tell_positions(session, generation);
  if (!generation.error.empty()) std::cerr << "kvedit: " << with_flags(generation.error) << "\n";
  tell_cap(session.stats());
  if (command.common.verbose > 0) {
    std::cerr << "kvedit: " << prompt_tokens << " tokens read in " << milliseconds(prefill_ms) << " ms, "
              << generation.tokens.size() << " made in " << milliseconds(generation.ms) << " ms; stopped by "
              << to_string(generation.stop) << "\n";
  }
}

void run(RunCommand& command) {
  require_writable(command.save);
  const std::string text = input_text(command);
  const std::shared_ptr<Model> model = load_model(command.common);
  if (command.chat && !model->info().has_chat_template) {
    throw Error(ErrorCode::unsupported, "run",
                "this model has no chat template: leave --chat out, or name one with --chat-template");
  }
  Session session = command.session.empty() ? Session(model, command.options)
                                            : Session::load(model, command.session, command.options);
  set_cap(session, command.cap);
  const Stopwatch prefill;
  int prompt_tokens = 0;
  try {
    if (!text.empty()) prompt_tokens = append_input(command, text, session);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::cancelled || command.save.empty()) throw;
    throw extended(error, "; a prompt is read wholly or not at all, so that there is nothing to save");
  }
  const double prefill_ms = prefill.ms();
  command.generate.on_text = [json = command.common.json](std::string_view piece) {
    if (!json) std::cout << piece << std::flush;
    return std::cout.good() && !interrupted();
  };
  const Generation generation = session.generate(command.generate);
  if (!command.save.empty()) session.save(command.save);
  tell(command, session, generation, prompt_tokens, prefill_ms);
  if (interrupted()) throw CLI::RuntimeError(exit_cancelled);
  if (generation.stop == StopReason::error) throw CLI::RuntimeError(exit_code(generation.error_code));
}

}  // namespace

void add_run(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("run", "Continue a prompt, a file or a session");
  auto command = std::make_shared<RunCommand>();
  sub->add_option("-f,--file", command->file, "Read this text first; - is standard input")->type_name("FILE");
  auto* const prompt = sub->add_option("-p,--prompt", command->prompt, "Then this")->type_name("TEXT");
  sub->add_option("prompt_words", command->words, "The same without -p")
      ->type_name("PROMPT")
      ->excludes(prompt);
  auto* const chat =
      sub->add_flag("--chat", command->chat, "As a user's message (default, if the model has a template)");
  sub->add_flag("--raw", command->raw, "As plain text")->excludes(chat);
  sub->add_option("--system", command->system, "The system's message, in front")->type_name("TEXT");
  sub->add_option("--session", command->session, "Start from this session")->type_name("FILE");
  sub->add_option("--save", command->save, "Save the session afterwards")->type_name("FILE");
  add_cap(*sub, command->cap);
  add_swa(*sub, command->options.swa);
  add_sampling(*sub, command->generate);
  add_common(*sub, command->common);
  sub->footer(run_footer);
  sub->callback([command] { run(*command); });
}

}  // namespace kvedit::cli
