#include "common.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>

#include "interrupt.h"

namespace kvedit::cli {
namespace {

constexpr int kWarning = 4, kInfo = 6, kDebug = 7;  // levels of log lines

const std::map<std::string, LinearKernel> linear_kernels = {
    {"auto", LinearKernel::automatic}, {"ggml", LinearKernel::ggml},
    {"f32", LinearKernel::f32},        {"f32-dense", LinearKernel::f32_dense},
    {"bf16", LinearKernel::bf16},      {"int8-dense", LinearKernel::int8_dense}};
const std::map<std::string, CacheType> cache_types = {{"f16", CacheType::f16}, {"f32", CacheType::f32}};
const std::map<std::string, SlidingWindow> sliding_windows = {{"full", SlidingWindow::full},
                                                              {"window", SlidingWindow::window}};

/// A named value; unlike CLI::CheckedTransformer it refuses the enumeration's bare numbers.
template <typename Value>
void add_choice(CLI::App& command, const std::string& flag, Value& value,
                const std::map<std::string, Value>& choices, const std::string& description) {
  std::vector<std::string> names;
  for (const auto& [name, unused] : choices) names.push_back(name);
  command
      .add_option_function<std::string>(
          flag, [&value, &choices](const std::string& name) { value = choices.at(name); }, description)
      ->check(CLI::IsMember(names))
      ->type_name("");
}

}  // namespace

void add_swa(CLI::App& command, SlidingWindow& swa) {
  add_choice(command, "--swa", swa, sliding_windows,
             "Sliding-window layers keep everything for edits (full, default), or what is in reach (window)");
}

void add_cap(CLI::App& command, CapOptions& options) {
  command
      .add_option("--cap", options.budget,
                  "Hold the cache at this: 1024 (tokens a lane), 64MiB, or 25% of the whole text")
      ->type_name("BUDGET");
  command
      .add_option("--cap-policy", options.policy,
                  "What evicts then; see `kvedit policies` (default: lkv where a file for the model is "
                  "there, else tova)")
      ->type_name("NAME");
}

void set_cap(Session& session, const CapOptions& options) {
  if (options.budget.empty()) return;
  const bool learned = !session.model()->companion(".lkv.gguf").empty();
  const std::string policy = !options.policy.empty() ? options.policy : learned ? "lkv" : "tova";
  session.set_cap(policy, Budget::parse(options.budget));
}

void add_json(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Report as JSON on standard output");
}

void add_common(CLI::App& command, CommonOptions& options) {
  const std::string group = "Model and output";
  const std::vector<CLI::Option*> before = command.get_options({});
  command
      .add_option("-m,--model", options.model,
                  "GGUF file (default: $KVEDIT_MODEL, else SmolLM2-135M-Instruct)")
      ->type_name("FILE");
  command.add_option("-t,--threads", options.load.threads, "Threads (default: one a core)")
      ->check(CLI::Range(1, 512))
      ->type_name("N");
  add_choice(command, "--linear", options.load.linear, linear_kernels,
             "Kernel of the projections; f32: slow and exact (default: auto)");
  add_choice(command, "--cache-type", options.load.cache, cache_types,
             "Type of keys and values (default: f16)");
  command.add_option("--pool-limit", options.load.pool_limit_bytes, "Limit of all caches, e.g. 512MiB")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("BYTES");
  command
      .add_option("--chat-template", options.load.chat_template, "A template of libllama's list, e.g. chatml")
      ->type_name("NAME");
  add_json(command, options.json);
  command.add_flag("-v,--verbose", options.verbose, "Log to stderr; -vv: what libraries say too");
  for (CLI::Option* option : command.get_options({})) {
    if (std::find(before.begin(), before.end(), option) == before.end()) option->group(group);
  }
}

std::string environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value ? value : "";
}

std::string cache_folder() {
  if (std::string folder = environment("KVEDIT_CACHE"); !folder.empty()) return folder;
  if (std::string folder = environment("XDG_CACHE_HOME"); !folder.empty()) return folder + "/kvedit";
  return environment("HOME") + "/.cache/kvedit";
}

std::string default_model() {
  if (std::string path = environment("KVEDIT_MODEL"); !path.empty()) return path;
  return cache_folder() + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

std::vector<std::string> companion_folders() {
  if (const std::string named = environment("KVEDIT_ADAPTERS"); !named.empty()) return {named};
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const std::filesystem::path above = program.parent_path().parent_path();
  return {above / "share/kvedit/adapters", above / "adapters"};
}

std::shared_ptr<Model> load_model(const CommonOptions& options) {
  set_log_sink([verbose = options.verbose](int level, std::string_view line) {
    if (level <= (verbose == 0 ? kWarning : verbose == 1 ? kInfo : kDebug))
      std::cerr << "kvedit: " << line << "\n";
  });
  std::string path = options.model;
  if (path.empty()) {
    path = default_model();
    if (!file_exists(path)) {
      const bool named = !environment("KVEDIT_MODEL").empty();
      throw Error(ErrorCode::not_found, "cli",
                  named ? "$KVEDIT_MODEL names " + path + ", where no file is"
                        : "the default model is not at " + path +
                              ": run scripts/demo once, which gets it, or name a GGUF file with -m");
    }
  }
  ModelOptions load = options.load;
  load.companions = companion_folders();
  return Model::load(path, load);
}

std::string read_file(const std::string& path) {
  auto failed = [&path] {
    const ErrorCode code = errno == ENOENT ? ErrorCode::not_found : ErrorCode::io;
    return Error(code, "cli", "cannot read " + path + ": " + std::strerror(errno));
  };
  const bool standard_input = path == "-";
  FILE* file = standard_input ? stdin : std::fopen(path.c_str(), "rb");
  if (!file) throw failed();
  const std::unique_ptr<FILE, void (*)(FILE*)> closer(standard_input ? nullptr : file,
                                                      [](FILE* f) { std::fclose(f); });
  std::string text;
  char block[65536];
  while (const size_t n = std::fread(block, 1, sizeof block, file)) text.append(block, n);
  if (interrupted()) throw Error(ErrorCode::cancelled, "cli", "interrupted while reading " + path);
  if (std::ferror(file)) throw failed();
  return text;
}

void refuse(const char* command, const std::string& why) {
  throw Error(ErrorCode::invalid_argument, command, why);
}

bool file_exists(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0;
}

void require_writable(const std::string& path) {
  namespace fs = std::filesystem;
  if (path.empty()) return;
  std::error_code error;
  const fs::path file = fs::weakly_canonical(path, error);
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, error)) {
    throw Error(ErrorCode::not_found, "cli",
                "cannot write " + path + ": there is no folder " + folder.string());
  }
  if (fs::exists(file, error) && !fs::is_regular_file(file, error))
    throw Error(ErrorCode::io, "cli", "cannot write " + path + ": it is no regular file");
  if (access(folder.c_str(), W_OK) != 0)
    throw Error(ErrorCode::io, "cli", "cannot write " + path + ": " + std::strerror(errno));
}

std::string with_flags(std::string message) {
  static const std::pair<std::string_view, std::string_view> flags[] = {
      {"EraseOptions::adapter", "--adapter"},  {"SyncOptions::adapter", "--adapter"},
      {"ModelOptions::cache", "--cache-type"}, {"ModelOptions::chat_template", "--chat-template"},
      {"SessionOptions::swa", "--swa"},
  };
  for (const auto& [field, flag] : flags) {
    for (size_t at = message.find(field); at != std::string::npos; at = message.find(field, at + flag.size()))
      message.replace(at, field.size(), flag);
  }
  return message;
}

Error extended(const Error& error, const std::string& addition) {
  return {error.code(), error.where(), std::string(error.message()) + addition};
}

void print_json(const Json& value, int indent) {
  std::cout << value.dump(indent, ' ', false, Json::error_handler_t::replace) << std::endl;
}

std::string default_of(const Parameter& parameter) {
  if (parameter.free_text) return parameter.text;
  if (!parameter.choices.empty()) return parameter.choices.at(static_cast<size_t>(parameter.value));
  std::ostringstream text;
  text << parameter.value;
  return text.str();
}

Json parameters_json(const std::vector<Parameter>& parameters) {
  Json list = Json::array();
  for (const Parameter& p : parameters) {
    list.push_back({{"name", p.name}, {"default", p.value}, {"description", p.description}});
    if (p.free_text || !p.choices.empty()) list.back()["default"] = default_of(p);
    if (!p.choices.empty()) list.back()["choices"] = p.choices;
  }
  return list;
}

void print_error(std::string_view code, const std::string& message, bool json, int indent) {
  if (json) return print_json({{"error", {{"code", code}, {"message", with_flags(message)}}}}, indent);
  std::cout << std::flush;
  std::cerr << "kvedit: " << with_flags(message) << "\n";
}

namespace {

constexpr double kTellTimeLeft = 3;  // seconds

std::string bar(size_t done, size_t total) {
  constexpr size_t kCells = 20;
  const size_t full = std::min(kCells, done * kCells / total);
  return "[" + std::string(full, '#') + std::string(kCells - full, '.') + "]";
}

}  // namespace

ProgressLine::ProgressLine(std::string label) : label_(std::move(label)), terminal_(isatty(STDERR_FILENO)) {}

ProgressLine::~ProgressLine() {
  if (shown_) std::cerr << "\r\033[K" << std::flush;
}

Progress ProgressLine::progress() {
  return [this](size_t done, size_t total) {
    if (terminal_ && total > 0) {
      if (!shown_) first_ = done;
      shown_ = true;
      std::cerr << "\r\033[K" << label_ << " " << bar(done, total) << " " << done << " / " << total;
      const double seconds = watch_.ms() / 1000;
      if (done > first_ && seconds > kTellTimeLeft) {
        const double each = seconds / static_cast<double>(done - first_);
        std::cerr << ", " << duration(each * static_cast<double>(total - done)) << " left";
      }
      std::cerr << std::flush;
    }
    return !interrupted();
  };
}

std::string duration(double seconds) {
  const auto all = std::llround(seconds);
  char text[48];
  if (all < 60) {
    std::snprintf(text, sizeof text, "%lld s", all);
  } else if (all < 3600) {
    std::snprintf(text, sizeof text, "%lld:%02lld", all / 60, all % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", all / 3600, all / 60 % 60, all % 60);
  }
  return text;
}

}  // namespace kvedit::cli
