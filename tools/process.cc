#include "tools/process.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "tools/text.h"

namespace kvedit {
namespace {

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

// Files instead of pipes: neither side can wait for the other.
File temporary(const std::string& text = {}) {
  File file(std::tmpfile());
  if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() ||
      std::fflush(file.get()) != 0) {
    fail(ErrorCode::io, "process", "cannot make a temporary file: ", std::strerror(errno));
  }
  std::rewind(file.get());
  return file;
}

// The child wrote through the same open file, so its end is where the child stopped.
std::string contents(std::FILE* file) {
  std::rewind(file);
  std::string text;
  char block[4096];
  for (size_t n = 0; (n = std::fread(block, 1, sizeof block, file)) > 0;) text.append(block, n);
  return text;
}

int exit_code_of(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {  // Ctrl-C reaches the child too, which then ends
    if (errno != EINTR) fail(ErrorCode::io, "process", "lost a child: ", std::strerror(errno));
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Finished run_program(const std::vector<std::string>& words, const std::string& input, bool own_errors) {
  const File in = temporary(input), out = temporary(), err = temporary();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fileno(in.get()), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(out.get()), STDOUT_FILENO);
  if (own_errors) posix_spawn_file_actions_adddup2(&actions, fileno(err.get()), STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    fail(error == ENOENT ? ErrorCode::not_found : ErrorCode::io, "process", "cannot run ", words[0], ": ",
         std::strerror(error));
  }
  Finished finished{exit_code_of(child)};
  finished.output = contents(out.get());
  finished.errors = contents(err.get());
  return finished;
}

}  // namespace kvedit
