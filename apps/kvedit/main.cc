// kvedit: an LLM runtime whose memory you can edit. One file a subcommand; this one holds their
// table and turns errors into messages and exit codes (docs/cli.md).
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "commands.h"
#include "common.h"
#include "interrupt.h"
#include "kvedit/version.h"

namespace kvedit::cli {
namespace {

constexpr void (*commands[])(CLI::App&) = {add_run,      add_chat,    add_erase, add_evict, add_demo,
                                           add_policies, add_methods, add_info,  add_bench, add_eval};

const char* const main_footer =
    "Examples:\n"
    "  kvedit demo\n"
    "  kvedit run -p 'Name three harbours.'\n"
    "  kvedit erase -f notes.txt --span 'The code is 9023.' -q 'What is the code?' --method all\n"
    "  kvedit evict -f notes.txt -q 'What is the code?' --policy snapkv --keep 25%\n"
    "  kvedit COMMAND --help\n"
    "Exit codes: 0 done, 1 error, 2 wrong usage or argument, 3 cancelled.";

/// Standard output that could not be written: silent success if its reader had enough, as in `| head`.
int finish(int code) {
  std::cout.flush();
  if (std::cout) return code;
  pollfd output{STDOUT_FILENO, POLLOUT, 0};
  if (poll(&output, 1, 0) > 0 && (output.revents & POLLERR)) return code;
  std::cerr << "kvedit: [cli] cannot write to standard output\n";
  return exit_runtime;
}

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  arm_interrupt();
  // The line editor drops what is not ASCII in the "C" locale. Numbers stay as they are.
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  CLI::App app("kvedit: an LLM runtime whose memory you can edit", "kvedit");
  app.footer(main_footer);
  app.set_version_flag("--version", std::string("kvedit ") + version());
  app.require_subcommand(1);
  for (const auto add : commands) add(app);
  if (argc == 1) {
    std::cerr << app.help();
    return exit_usage;
  }
  const bool json =
      std::any_of(argv, argv + argc, [](const char* word) { return std::string_view(word) == "--json"; });
  try {
    app.parse(argc, argv);
    return finish(0);
  } catch (const CLI::RuntimeError& error) {  // a command that ended its report and names its exit code
    return finish(error.get_exit_code());
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return finish(app.exit(error));  // --help, --version
    std::string message = error.what();
    const auto known =
        app.get_subcommands([&](const CLI::App* command) { return command->check_name(argv[1]); });
    if (argv[1][0] != '-' && known.empty()) {
      message = "no command '" + std::string(argv[1]) + "'";  // CLI11 only says that one is required
    }
    print_error("usage", "[cli] " + message + (json ? "" : "; see --help"), json);
    return finish(exit_usage);
  } catch (const Error& error) {
    print_error(to_string(error.code()), error.what(), json);
    return finish(exit_code(error.code()));
  } catch (const std::exception& error) {
    print_error("internal", error.what(), json);
    return finish(exit_runtime);
  }
}

}  // namespace
}  // namespace kvedit::cli

int main(int argc, char** argv) { return kvedit::cli::main(argc, argv); }
