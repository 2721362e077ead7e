#include "eval_run.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

#include "edit.h"
#include "eraser.h"
#include "eval/charts.h"
#include "eval/exchange.h"
#include "eval/report.h"
#include "kvedit/version.h"
#include "tools/fingerprint.h"
#include "tools/write_file.h"

namespace kvedit::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kExamples = 32;
constexpr int kQuickLength = 1024;  // shorter ones do not hold the passages of every question
const std::vector<std::string> kQuickPolicies = {"snapkv", "laprox", "keydiff"};
const std::vector<std::string> kQuickKeeps = {"25%"};

void add(std::vector<eval::Cell>& cells, const eval::Cell& cell) {
  if (std::find(cells.begin(), cells.end(), cell) == cells.end()) cells.push_back(cell);
}

// Unevicted, and every policy at every budget.
std::vector<eval::Cell> evicting_cells(const EvalOptions& options) {
  std::vector<eval::Cell> cells = {eval::kFull};
  if (options.policies.empty() != options.keeps.empty()) refuse("eval", "--policy and --keep go together");
  for (const std::string& keep : options.keeps) {
    Budget::parse(keep);
    for (const std::string& policy : chosen_policies(options.policies)) add(cells, {policy, keep});
  }
  return cells;
}

// Lists the exact method first, then the given ones.
std::vector<eval::Cell> erasing_cells(const EvalOptions& options) {
  std::vector<eval::Cell> cells = {{.method = "recompute"}};
  for (const std::string& name : options.methods) {
    if (name == "none" || name == "all") add(cells, {.method = "none"});
    if (name == "none") continue;
    for (const std::string& method : chosen_methods({name}, !options.adapters.empty())) {
      if (!needs_adapter(method)) {
        add(cells, {.method = method});
        continue;
      }
      if (options.adapters.empty()) refuse("eval", method + " needs --adapter FILE");
      for (const std::string& path : options.adapters) add(cells, {.method = method, .adapter = path});
    }
  }
  return cells;
}

std::vector<eval::Cell> cells_of(const EvalOptions& options, const eval::TaskEntry& entry) {
  if (!options.methods.empty() && !entry.erases)
    refuse("eval", entry.name + " has nothing to erase: no --method");
  if (options.methods.empty() && !entry.evicts) refuse("eval", entry.name + " needs --method, or all");
  const std::vector<eval::Cell> evicting = evicting_cells(options);
  std::vector<eval::Cell> cells;
  if (entry.evicts && (options.methods.empty() || !options.policies.empty())) cells = evicting;
  if (options.methods.empty()) return cells;
  const std::vector<eval::Cell> erasing = erasing_cells(options);
  for (const eval::Cell& base : evicting) {
    if (entry.evicts && base.evicts()) break;  // evicting and erasing side by side, not composed
    for (eval::Cell cell : erasing) {
      cell.policy = base.policy;
      cell.keep = base.keep;
      add(cells, cell);
    }
  }
  return cells;
}

std::vector<eval::Cell> references_of(const EvalOptions& options, const std::vector<eval::Cell>& cells) {
  std::vector<eval::Cell> references;
  for (const std::string& name : options.references) references.push_back(find_cell(cells, name));
  if (!references.empty()) return references;
  for (const eval::Cell& cell : {eval::kFull, eval::Cell{.method = "drop"}}) {
    if (std::find(cells.begin(), cells.end(), cell) != cells.end()) references.push_back(cell);
  }
  return references;
}

eval::Order order_of(const EvalOptions& options) {
  return options.answer_first     ? eval::Order::answer_first
         : options.question_first ? eval::Order::question_first
         : options.question_after ? eval::Order::question_after
                                  : eval::Order::own;
}

// Files that policies name: "lkv:file=PATH,sinks=4".
std::vector<std::string> named_files(const std::vector<std::string>& policies) {
  constexpr std::string_view kFile = "file=";
  std::vector<std::string> files;
  for (const std::string& policy : policies) {
    for (size_t at = 0; (at = policy.find(kFile, at)) != std::string::npos;) {
      at += kFile.size();
      files.push_back(policy.substr(at, std::min(policy.find_first_of(",;)", at), policy.size()) - at));
    }
  }
  return files;
}

/// Returns all that the results depend on.
eval::Json setting_of(const EvalOptions& options, const Model& loaded, const eval::Adapters& adapters,
                      const eval::TaskInfo& task, const eval::Haystack& haystack) {
  const ModelInfo model = loaded.info();
  const auto hashed = [](const std::string& path) {
    const std::string bytes = read_file(path);
    return fs::path(path).filename().string() + " " +
           fingerprint_text(XXH3_64bits(bytes.data(), bytes.size()));
  };
  // Files by their content: one that was trained on is another.
  eval::Json data = eval::Json::array(), trained = eval::Json::array();
  for (const std::string& path : options.data) data.push_back(hashed(path));
  for (const auto& [name, adapter] : adapters)
    trained.push_back(adapter->info().name + " " + fingerprint_text(adapter->info().fingerprint));
  if (const std::string lkv = loaded.companion(".lkv.gguf"); !lkv.empty()) trained.push_back(hashed(lkv));
  for (const std::string& file : named_files(options.policies)) trained.push_back(hashed(file));
  return {{"task", options.task},
          {"protocol", task.protocol},
          {"model", model.name},
          {"weights", model.weight_types},
          {"fingerprint", fingerprint_text(model.fingerprint)},
          {"cache", options.common.load.cache == CacheType::f32 ? "f32" : "f16"},
          {"linear", model.linear},
          {"attention", model.attention},
          {"haystack", fingerprint_text(haystack.hash())},
          {"data", data},
          {"trained", trained},
          {"kvedit", version()},
          {"seed", options.seed}};
}

struct RunContext {
  std::shared_ptr<Model> model;
  std::shared_ptr<const eval::Haystack> haystack;
  eval::Adapters adapters;
};

/// A task opened, and which of its examples are asked for. The grid has no cells yet.
struct OpenTask {
  const eval::TaskEntry& entry;
  std::unique_ptr<eval::Task> task;
  eval::TaskInfo info;
  eval::Grid grid;
  eval::Json setting;
};

OpenTask open_task(const EvalOptions& options, const RunContext& context) {
  const eval::TaskEntry& entry = eval::find_task(options.task);
  auto task =
      eval::open_task(options.task, {context.haystack, options.data, options.strict, order_of(options)});
  eval::TaskInfo info = task->info();
  eval::Grid grid{{}, options.lengths, options.examples, options.seed, context.adapters};
  if (grid.examples == 0) grid.examples = options.quick ? entry.quick_examples : kExamples;
  if (info.examples > 0) grid.examples = std::min(grid.examples, info.examples);
  if (grid.lengths.empty()) grid.lengths = options.quick ? std::vector{kQuickLength} : entry.lengths;
  if (!info.sized) grid.lengths = {0};
  eval::Json setting = setting_of(options, *context.model, context.adapters, info, *context.haystack);
  return {entry, std::move(task), std::move(info), std::move(grid), std::move(setting)};
}

void run_task(const EvalOptions& options, const RunContext& context) {
  auto [entry, task, info, grid, setting] = open_task(options, context);
  grid.cells = cells_of(options, entry);
  const std::vector<eval::Cell> references = references_of(options, grid.cells);
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error) throw Error(ErrorCode::io, "eval", "cannot make " + options.out + ": " + error.message());

  std::vector<std::string> metrics;
  for (const eval::Metric& metric : info.metrics) metrics.push_back(metric.name);
  eval::Results results(options.out + "/results.jsonl", setting, metrics, options.resume);
  try {
    ProgressLine line("eval " + options.task + ", results");
    run_grid(
        context.model, *task, grid,
        [&](int length, int example, const eval::Cell& cell) { return results.have(length, example, cell); },
        [&](const eval::Result& result) { results.add(result); }, line.progress());
  } catch (const Error& stopped) {
    if (stopped.code() != ErrorCode::cancelled) throw;
    throw extended(stopped, "; go on with --resume");
  }
  for (const std::string& path : options.answers) {
    const eval::Peer peer = add_peer(path, *context.model, *task, grid, results);
    grid.cells.insert(grid.cells.end(), peer.cells.begin(), peer.cells.end());
    info.notes.push_back(fs::path(path).filename().string() + ": " + peer.made_by);
  }
  const eval::Report report = make_report(info, setting, results, grid, references);
  const eval::Json all = all_results(results, grid, setting);
  write_file("eval", options.out + "/results.json",
             all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  std::string table = to_markdown(report);
  if (!options.answers.empty()) table += costs_to_markdown(results, grid, info.sized);
  write_file("eval", options.out + "/table.md", table);
  try {
    draw_charts(report, options.out);
  } catch (const Error& missing) {
    if (missing.code() != ErrorCode::not_found) throw;
    std::cerr << "kvedit: no plots: " << missing.what() << "\n";
  }
  if (options.common.json) return print_json(to_json(report));
  std::cout << table << std::flush;
}

void add_quick_cells(EvalOptions& options) {
  if (!options.policies.empty() || !options.methods.empty()) return;
  options.policies = kQuickPolicies;
  options.keeps = kQuickKeeps;
  options.methods = {"all"};
}

// Drops the options that do not concern this task.
EvalOptions narrowed(EvalOptions options, const eval::TaskEntry& entry) {
  if (!entry.erases) options.methods.clear();
  if (entry.erases && !entry.evicts && options.quick) options.policies.clear(), options.keeps.clear();
  return options;
}

/// "TASK=FILE"
std::vector<std::string> data_of(const EvalOptions& options, const std::string& task) {
  std::vector<std::string> files;
  for (const std::string& given : options.data) {
    if (given.starts_with(task + "=")) files.push_back(given.substr(task.size() + 1));
  }
  return files;
}

// f32: with faster kernels rounding alone, which `recompute` shows, hides what good methods leave.
// The eraser that ships for the model becomes one of the options' adapters where they name none.
RunContext make_context(EvalOptions& options, bool erases) {
  CommonOptions common = options.common;
  if (erases && !options.linear_given) common.load.linear = LinearKernel::f32;
  RunContext context{load_model(common), nullptr, {}};
  if (options.adapters.empty()) {
    if (const std::string shipped = shipped_eraser(*context.model, options.methods); !shipped.empty())
      options.adapters.push_back(shipped);
  }
  if (options.task != "all" && options.dump.empty()) cells_of(options, eval::find_task(options.task));
  context.haystack = std::make_shared<const eval::Haystack>(eval::Haystack::load(options.haystack));
  for (const std::string& path : options.adapters)
    context.adapters.emplace(path, context.model->load_adapter(path));
  return context;
}

void run_all(EvalOptions options) {
  std::optional<RunContext> exact, fast;
  for (const eval::TaskEntry& entry : eval::tasks()) {
    EvalOptions one = narrowed(options, entry);
    one.task = entry.name;
    one.out = (fs::path(options.out) / entry.name).string();
    one.data = data_of(options, entry.name);
    if (entry.data == eval::Data::needed && one.data.empty()) {
      std::cerr << "kvedit: eval " << entry.name << " is left out: it needs --data " << entry.name
                << "=FILE\n";
      continue;
    }
    if (one.policies.empty() && one.methods.empty()) continue;
    std::optional<RunContext>& context = one.methods.empty() ? fast : exact;
    if (!context) context = make_context(options, !one.methods.empty());
    one.adapters = options.adapters;
    run_task(one, *context);
  }
}

void check_data(const EvalOptions& options) {
  for (const std::string& given : options.data) {
    const size_t equals = given.find('=');
    if (equals == std::string::npos) refuse("eval", "with all, --data is TASK=FILE, not " + given);
    eval::find_task(given.substr(0, equals));
  }
}

}  // namespace

void run_eval(const EvalOptions& given) {
  EvalOptions options = given;
  const bool all = options.task == "all";
  if (options.quick) add_quick_cells(options);
  if (all) {
    check_data(options);
  } else if (const eval::TaskEntry& entry = eval::find_task(options.task);
             given.policies.empty() && given.methods.empty()) {
    options = narrowed(options, entry);
  }
  if (options.out.empty() && options.dump.empty()) refuse("eval", "give --out DIR");
  if (all && (!options.dump.empty() || !options.answers.empty()))
    refuse("eval", "--dump-examples and --answers take one task, not all");
  if (options.dump.empty() && options.policies.empty() && options.methods.empty())
    refuse("eval", "no --policy and no --method, nor --quick");
  if (all) return run_all(options);
  const RunContext context = make_context(options, !options.methods.empty());
  if (!options.dump.empty()) {
    const OpenTask open = open_task(options, context);
    return write_examples(options.dump, *context.model, *open.task, open.grid, open.setting);
  }
  run_task(options, context);
}

}  // namespace kvedit::cli
