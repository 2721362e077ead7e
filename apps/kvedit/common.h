// What all subcommands share: the options that choose and load a model, reading files, progress.
#pragma once

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kvedit/error.h"
#include "kvedit/model.h"
#include "kvedit/session.h"
#include "kvedit/types.h"
#include "tools/exit_code.h"
#include "tools/stopwatch.h"

namespace kvedit::cli {

using Json = nlohmann::ordered_json;

struct CommonOptions {
  std::string model;  // empty: the default model
  ModelOptions load;
  bool json = false;
  int verbose = 0;  // 1: our own lines, 2: those of libraries too
};

void add_common(CLI::App& command, CommonOptions& options);
void add_json(CLI::App& command, bool& json);

/// --swa full|window
void add_swa(CLI::App& command, SlidingWindow& swa);

/// --cap BUDGET and --cap-policy: the cache never holds more.
struct CapOptions {
  std::string budget;
  std::string policy;  // empty: the default for the model
};
void add_cap(CLI::App& command, CapOptions& options);
/// Sets the cap, if there is one.
void set_cap(Session& session, const CapOptions& options);

/// Returns the variable's value, or nothing.
std::string environment(const char* variable);
/// Returns ${KVEDIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kvedit}.
std::string cache_folder();
/// Returns $KVEDIT_MODEL, else the file that scripts/deps puts into the cache folder.
std::string default_model();
/// Lists the folders of files that ship: $KVEDIT_ADAPTERS, or ../share/kvedit/adapters and ../adapters of
/// the program's.
std::vector<std::string> companion_folders();
/// Loads the model and sets the log sink: warnings to stderr, with --verbose more.
std::shared_ptr<Model> load_model(const CommonOptions& options);

/// Reads a file; "-" is standard input. Throws Error(not_found, io, cancelled).
std::string read_file(const std::string& path);
bool file_exists(const std::string& path);
/// Throws Error(io, not_found) where no file could be written, before any work is done in vain. An empty
/// path is accepted.
void require_writable(const std::string& path);

/// Throws Error(invalid_argument).
[[noreturn]] void refuse(const char* command, const std::string& why);

/// Rewrites the library's words for its options, as "EraseOptions::adapter", as flags of the command line.
std::string with_flags(std::string message);
/// Adds to an error's text: "[where] message<addition>".
Error extended(const Error& error, const std::string& addition);
/// Prints one JSON value on standard output; invalid UTF-8 (a cut token) is replaced.
void print_json(const Json& value, int indent = 2);
/// Writes a parameter's default: "32", "0.2", "avg".
std::string default_of(const Parameter& parameter);
/// Returns [{"name", "default", "description", "choices" where it has some}].
Json parameters_json(const std::vector<Parameter>& parameters);
/// Prints an error for people on standard error or, in JSON, as {"error": {"code", "message"}} on standard
/// output.
void print_error(std::string_view code, const std::string& message, bool json, int indent = 2);

/// Writes "12 s", "3:05", "2:03:05".
std::string duration(double seconds);

/// One line on stderr, only when it is a terminal, cleared at the end of its life: a bar, and the time left
/// once the work has lasted some seconds. Its progress() also stops the work at Ctrl-C.
class ProgressLine {
 public:
  explicit ProgressLine(std::string label);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  Progress progress();

 private:
  std::string label_;
  bool terminal_;
  bool shown_ = false;
  Stopwatch watch_;
  size_t first_ = 0;  // work done when it began; resumed work takes no time
};

}  // namespace kvedit::cli
