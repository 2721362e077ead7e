// kvedit eval: a task's examples through a grid of policies and budgets, each example read once.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "commands.h"
#include "common.h"
#include "edit.h"
#include "eval/report.h"

namespace kvedit::cli {
namespace {

const char* const footer =
    "Writes DIR/results.jsonl, a line for each example and cell as it is done, and DIR/table.md. The full\n"
    "cache is always measured too, as the reference.\n"
    "Examples:\n"
    "  kvedit eval text --policy snapkv --policy laprox --keep 25% --keep 10% --out text\n"
    "  kvedit eval niah-keys --policy all --keep 25% --examples 50 --lengths 2048 --out keys\n"
    "  kvedit eval niah-keys --policy all --keep 25% --examples 50 --lengths 2048 --out keys --resume\n"
    "  kvedit eval text --policy kvedit --keep 5% --haystack books/ --out books";

struct EvalOptions {
  CommonOptions common;
  std::string task;
  std::vector<std::string> policies, keeps;
  eval::Grid grid{{}, {1024}, 32, 1};
  std::string haystack{eval::kDefaultHaystack};
  std::string out;
  bool resume = false;
};

std::vector<eval::Cell> cells_of(const EvalOptions& options) {
  std::vector<eval::Cell> cells = {eval::kFull};
  for (const std::string& keep : options.keeps) {
    Budget::parse(keep);
    for (const std::string& policy : chosen_policies(options.policies)) {
      const eval::Cell cell{policy, keep};
      if (std::find(cells.begin(), cells.end(), cell) == cells.end()) cells.push_back(cell);
    }
  }
  return cells;
}

/// What the results depend on.
eval::Json setting_of(const EvalOptions& options, const ModelInfo& model, const eval::Haystack& haystack) {
  char fingerprint[17], hash[17];
  std::snprintf(fingerprint, sizeof fingerprint, "%016llx",
                static_cast<unsigned long long>(model.fingerprint));
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(haystack.hash()));
  return {{"task", options.task},
          {"model", model.name},
          {"weights", model.weight_types},
          {"fingerprint", fingerprint},
          {"cache", options.common.load.cache == CacheType::f32 ? "f32" : "f16"},
          {"linear", model.linear},
          {"attention", model.attention},
          {"haystack", hash},
          {"seed", options.grid.seed}};
}

void write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  if (!file) throw Error(ErrorCode::io, "eval", "cannot write " + path);
}

void run(const EvalOptions& options) {
  const eval::Task& task = eval::find_task(options.task);
  const eval::TaskInfo info = task.info();
  eval::Grid grid = options.grid;
  grid.cells = cells_of(options);
  const eval::Haystack haystack = eval::Haystack::load(options.haystack);
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) throw Error(ErrorCode::io, "eval", "cannot make " + options.out + ": " + error.message());

  const auto model = load_model(options.common);
  const eval::Json setting = setting_of(options, model->info(), haystack);
  std::vector<std::string> metrics;
  for (const eval::Metric& metric : info.metrics) metrics.push_back(metric.name);
  eval::Results results(options.out + "/results.jsonl", setting, metrics, options.resume);
  try {
    ProgressLine line("eval " + options.task + ", results");
    run_grid(
        model, task, haystack, grid,
        [&](int length, int example, const eval::Cell& cell) { return results.have(length, example, cell); },
        [&](const eval::Result& result) { results.add(result); }, line.progress());
  } catch (const Error& stopped) {
    if (stopped.code() != ErrorCode::cancelled) throw;
    throw extended(stopped, "; go on with --resume");
  }
  const std::vector<eval::ReportRow> rows = report_rows(results, grid, info.metrics);
  const std::string table = to_markdown(info, setting, rows);
  write(options.out + "/table.md", table);
  if (options.common.json) return print_json(to_json(info, setting, rows));
  std::cout << table;
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("eval", "Measure what policies do to a model's answers");
  auto o = std::make_shared<EvalOptions>();
  std::string tasks;
  for (const eval::Task* task : eval::tasks())
    tasks += (tasks.empty() ? "" : "; ") + task->info().name + ": " + task->info().description;
  sub->add_option("task", o->task, tasks)->type_name("TASK")->required();
  sub->add_option("--policy", o->policies, "Repeatable; all: every one that needs no file")
      ->type_name("P")
      ->required();
  sub->add_option("--keep", o->keeps, "Budget, repeatable: 10%, 512 or 64MiB")->type_name("K")->required();
  sub->add_option("--examples", o->grid.examples, "Of each length")
      ->check(CLI::Range(1, 1000000))
      ->type_name("N")
      ->capture_default_str();
  sub->add_option("--lengths", o->grid.lengths, "Tokens of the contexts, one or more (default: 1024)")
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("L");
  sub->add_option("--seed", o->grid.seed, "Of the examples")->type_name("S")->capture_default_str();
  sub->add_option("--haystack", o->haystack, "Prose: a text file, or a folder's .txt files")
      ->type_name("PATH")
      ->capture_default_str();
  sub->add_option("--out", o->out, "Folder for results and table")->type_name("DIR")->required();
  sub->add_flag("--resume", o->resume, "Go on with what is in it");
  add_common(*sub, o->common);
  sub->footer(footer);
  sub->callback([o] { run(*o); });
}

}  // namespace kvedit::cli
