// kvedit bench: our speed and memory beside llama.cpp's, both in one process, interleaved.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>

#include "bench/report.h"
#include "commands.h"
#include "common.h"
#include "edit.h"
#include "tools/write_file.h"

namespace kvedit::cli {
namespace {

using bench::Comparison;
using bench::Row;

const char* const bench_footer =
    "Each kind of work prints a row: minimum, median and maximum over the repetitions of ours, of\n"
    "llama.cpp's, and of the ratio of each pair; a ratio above 1 means ours is better. llama.cpp runs\n"
    "with an F16 cache and the same file, tokens and threads, each work with flash attention and\n"
    "without: the better is shown, and which it is. Where it does something else, the row says what.\n"
    "Examples:\n"
    "  kvedit bench decode --cached 0 --cached 8000 --threads 2\n"
    "  kvedit bench prefill --length 512 --peer none\n"
    "  kvedit bench erase --length 8000 --span 64 --depth 10% --method shift --json\n"
    "  kvedit bench evict --policy all --keep 10%           # what compressing costs, by policy\n"
    "  kvedit bench report --out report --threads 2         # all of it, with charts\n"
    "  kvedit bench report --out report --threads 2 --resume";

struct BenchOptions {
  CommonOptions common;
  SessionOptions session;
  std::string peer = "llama.cpp";
  int repeat = 3;
  int tokens = 64;
  bool no_memory = false;
  std::vector<int> lengths;
  int length = 8000;
  int sessions = 16;
  int block = 256;
  bench::EraseWork erase = {8000, 64, "0"};
  std::vector<std::string> methods = {"all"};
  std::string adapter;
  std::vector<std::string> policies = {"snapkv"};
  std::string keep = "10%";
  std::string out;
  bool quick = false;
  bool resume = false;
  bench::MemoryWork memory;
};

constexpr int kMost = 1 << 24;  // tokens; the model says less

/// A line on stderr for each long step.
bench::ProgressMaker progress_lines() {
  return [](const std::string& label) -> Progress {
    auto line = std::make_shared<ProgressLine>("bench: " + label + ", tokens");
    return [line, progress = line->progress()](size_t done, size_t total) { return progress(done, total); };
  };
}

using Emit = std::function<void(const Row&)>;

/// capacity: tokens of the longest context. work is given what prints a row.
void compare(const BenchOptions& options, int capacity,
             const std::function<void(Comparison&, const bench::Setting&, const Emit&)>& work) {
  const CommonOptions& common = options.common;
  const bool peer = options.peer != "none";
  const auto model = load_model(common);
  const ModelInfo info = model->info();
  std::vector<std::string> child = bench::load_flags(info, common.load);
  if (options.session.swa == SlidingWindow::window) child.insert(child.end(), {"--swa", "window"});
  child.emplace_back("--json");
  bench::MemoryMeter memory(options.no_memory ? "" : "/proc/self/exe", child);
  Comparison comparison(model, {options.repeat, peer, capacity, options.session, progress_lines()},
                        std::move(memory));
  bench::Setting setting = bench::make_setting(info, common.load, options.repeat, peer);
  if (options.session.swa == SlidingWindow::window) setting.flags += " --swa window";
  if (!common.json) std::cout << bench::table_header(setting) << std::endl;
  work(comparison, setting, [&](const Row& row) {
    if (common.json) return print_json(bench::to_json(row, setting), -1);
    std::cout << bench::table_line(row) << std::endl;
  });
}

void run_decode(const BenchOptions& o) {
  const std::vector<int> cached = o.lengths.empty() ? std::vector<int>{0} : o.lengths;
  const int longest = std::max(1, *std::max_element(cached.begin(), cached.end()));
  compare(o, longest + o.tokens, [&](Comparison& comparison, const bench::Setting&, const Emit& emit) {
    for (const int n : cached) emit(decode_row(comparison, n, o.tokens));
  });
}

void run_prefill(const BenchOptions& o) {
  const std::vector<int> lengths = o.lengths.empty() ? std::vector<int>{512, 2000, 8000} : o.lengths;
  compare(o, *std::max_element(lengths.begin(), lengths.end()),
          [&](Comparison& comparison, const bench::Setting&, const Emit& emit) {
            for (const int n : lengths) emit(prefill_row(comparison, n));
          });
}

void run_erase(const BenchOptions& o) {
  bench::erase_span(o.erase);  // refuse before the model is read
  const auto methods = chosen_methods(o.methods, true);
  compare(o, o.erase.length, [&](Comparison& comparison, const bench::Setting&, const Emit& emit) {
    bench::EraseWork work = o.erase;
    if (!o.adapter.empty()) work.adapter = comparison.ours().model()->load_adapter(o.adapter);
    for (const Row& row : erase_rows(comparison, work, methods)) emit(row);
  });
}

void run_evict(const BenchOptions& o) {
  Budget::parse(o.keep);
  const auto names = chosen_policies(o.policies);
  compare(o, o.length + o.tokens, [&](Comparison& comparison, const bench::Setting&, const Emit& emit) {
    for (const std::string& name : names) emit(evict_row(comparison, o.length, name, o.keep, o.tokens));
  });
}

void run_fork(const BenchOptions& o) {
  compare(o, o.length, [&](Comparison& comparison, const bench::Setting&, const Emit& emit) {
    emit(fork_row(comparison, o.length));
  });
}

void run_upgrade(const BenchOptions& options) {
  BenchOptions o = options;
  o.peer = "none";
  compare(o, o.length + 2 * o.tokens, [&](Comparison& comparison, const bench::Setting&, const Emit& emit) {
    emit(upgrade_row(comparison, o.length, o.tokens));
  });
}

void run_batch(const BenchOptions& o) {
  compare(o, o.length + o.tokens, [&](Comparison& comparison, const bench::Setting&, const Emit& emit) {
    emit(batch_row(comparison, o.length, o.sessions, o.tokens));
    emit(beside_row(comparison, o.length, o.block));
  });
}

void run_snapshot(const BenchOptions& o) {
  compare(o, o.length, [&](Comparison& comparison, const bench::Setting&, const Emit& emit) {
    for (const Row& row : snapshot_rows(comparison, o.length)) emit(row);
  });
}

void run_peer(const BenchOptions& o) {
  compare(o, o.length + o.tokens, [&](Comparison& comparison, const bench::Setting&, const Emit& emit) {
    for (const Row& row : peer_rows(comparison, o.length, o.tokens)) emit(row);
  });
}

/// Draws the charts; where that fails it tells why and returns none.
std::vector<bench::Chart> drawn(std::vector<bench::Chart> charts, const std::string& folder) {
  try {
    for (const bench::Chart& chart : charts) plot::draw(plot::script(chart.lines), folder + "/" + chart.name);
    return charts;
  } catch (const Error& error) {
    std::cerr << "kvedit: " << error.what() << "; the tables are complete\n";
    return {};
  }
}

std::string command_of(const BenchOptions& o, const bench::ReportWork& work) {
  std::string command = "kvedit bench report --out DIR --lengths";
  for (const int length : work.lengths) command += " " + std::to_string(length);
  for (const std::string& policy : o.policies) command += " --policy " + policy;
  return command + " --keep " + work.keep + " --tokens " + std::to_string(work.tokens) + " --repeat " +
         std::to_string(o.repeat) + " --threads " + std::to_string(o.common.load.threads);
}

void run_report(const BenchOptions& given) {
  BenchOptions o = given;
  if (o.quick) {
    o.repeat = 1;
    o.tokens = 32;
  }
  if (o.lengths.empty())
    o.lengths = o.quick ? std::vector<int>{512, 2000} : std::vector<int>{512, 2000, 8000};
  Budget::parse(o.keep);
  const bench::ReportWork work{o.lengths, o.tokens, chosen_policies(o.policies), o.keep,
                               chosen_methods(o.methods, true)};
  compare(
      o, report_capacity(work), [&](Comparison& comparison, const bench::Setting& setting, const Emit& emit) {
        bench::ReportRows report(o.out, setting, o.resume);
        run_jobs(comparison, report_jobs(work), setting, report, emit,
                 [&](const std::string& job, const Error& error) {
                   std::cerr << "kvedit: " << job << ": " << error.what() << "\n";
                 });
        const auto charts = drawn(bench::report_charts(report.rows()), o.out);
        o.common.load.threads = setting.threads;
        write_file("bench", o.out + "/report.md",
                   bench::report_markdown(report.rows(), command_of(o, work), charts));
        if (!o.common.json) std::cout << "\n" << o.out << "/report.md\n";
        if (report.failures() > 0) {
          throw Error(
              ErrorCode::io, "bench",
              std::to_string(report.failures()) + " failed, see the end of report.md; --resume tries again");
        }
      });
}

void run_memory(const BenchOptions& o) {
  bench::MemoryJob job{o.memory, o.common.model, o.common.load, o.session};
  if (job.model.empty()) job.model = default_model();
  job.load.companions = companion_folders();
  const bench::Memory memory = do_memory_job(job);
  print_json({{"peak_memory_bytes", memory.peak}, {"resident_bytes", memory.resident}}, -1);
}

CLI::App* add_kind(CLI::App& bench, const std::string& name, const std::string& description,
                   const std::shared_ptr<BenchOptions>& o, void (*run)(const BenchOptions&)) {
  CLI::App* const sub = bench.add_subcommand(name, description);
  sub->add_option("--repeat", o->repeat, "Repetitions, interleaved with the peer's")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  sub->add_option("--peer", o->peer, "llama.cpp or none")
      ->check(CLI::IsMember({"llama.cpp", "none"}))
      ->type_name("")
      ->capture_default_str();
  sub->add_flag("--no-memory", o->no_memory, "Do not measure peak memory (it runs each work once more)");
  add_swa(*sub, o->session.swa);
  add_common(*sub, o->common);
  sub->callback([o, run] { run(*o); });
  return sub;
}

/// Value: a number, or a list of them.
template <typename Value>
void add_number(CLI::App* sub, const std::string& flag, Value& value, const std::string& description,
                int least = 1) {
  CLI::Option* const option = sub->add_option(flag, value, description);
  option->check(CLI::Range(least, kMost))->type_name("N");
  if constexpr (std::is_same_v<Value, int>) option->capture_default_str();
}

void add_evict_options(CLI::App* sub, BenchOptions* o) {
  sub->add_option("--policy", o->policies, "Repeatable; all: every one (default: snapkv)")->type_name("P");
  sub->add_option("--keep", o->keep, "Budget: 10%, 512 or 64MiB")->type_name("K")->capture_default_str();
  add_number(sub, "--tokens", o->tokens, "Tokens to decode");
}

}  // namespace
void add_bench(CLI::App& app) {
  CLI::App* const bench = app.add_subcommand("bench", "Measure speed and memory beside llama.cpp's");
  bench->require_subcommand(1);
  bench->footer(bench_footer);
  const auto kind = [bench](const char* name, const char* description, void (*run)(const BenchOptions&)) {
    auto options = std::make_shared<BenchOptions>();
    return std::pair(add_kind(*bench, name, description, options, run), options.get());
  };
  const auto [decode, d] = kind("decode", "Tokens a second after so many cached tokens", run_decode);
  add_number(decode, "--cached", d->lengths, "Tokens in the cache, repeatable (default: 0)", 0);
  add_number(decode, "--tokens", d->tokens, "Tokens to decode");
  const auto [prefill, p] = kind("prefill", "Tokens a second of reading a text", run_prefill);
  add_number(prefill, "--length", p->lengths, "Tokens to read, repeatable (default: 512, 2000, 8000)");
  const auto [erase, e] = kind("erase", "Milliseconds of erasing, up to the next token's logits", run_erase);
  add_number(erase, "--length", e->erase.length, "Tokens of the context", 2);
  add_number(erase, "--span", e->erase.span, "Tokens to erase");
  erase->add_option("--depth", e->erase.depth, "Where they begin: a token's index or 10%")
      ->type_name("D")
      ->capture_default_str();
  erase->add_option("--method", e->methods, "Repeatable; all: every one (default: all)")->type_name("M");
  erase->add_option("--adapter", e->adapter, "The eraser (default: one of rank 16 without effect)")
      ->type_name("PATH");
  const auto [evict, v] =
      kind("evict", "Tokens a second after evicting, against the peer's full cache", run_evict);
  add_number(evict, "--length", v->length, "Tokens of the context", 2);
  add_evict_options(evict, v);
  const auto [fork, f] = kind("fork", "Milliseconds of forking a session, and pages copied", run_fork);
  add_number(fork, "--length", f->length, "Tokens of the context");
  const auto [upgrade, u] =
      kind("upgrade", "Milliseconds a token while a cache becomes exact in the background", run_upgrade);
  add_number(upgrade, "--length", u->length, "Tokens of the context", 256);
  add_number(upgrade, "--tokens", u->tokens, "Tokens to generate meanwhile");
  const auto [batch, b] =
      kind("batch", "Tokens a second of many sessions together, and beside an edit", run_batch);
  add_number(batch, "--length", b->length, "Tokens of the context", 256);
  add_number(batch, "--sessions", b->sessions, "Sessions");
  add_number(batch, "--tokens", b->tokens, "Tokens of each");
  add_number(batch, "--block", b->block, "Tokens of a block, beside the edit");
  const auto [snapshot, s] = kind("snapshot", "Milliseconds of saving and loading a session", run_snapshot);
  add_number(snapshot, "--length", s->length, "Tokens of the context", 2);
  const auto [peer, x] = kind("peer", "Tokens a second of llama.cpp with each of its settings", run_peer);
  add_number(peer, "--length", x->length, "Tokens of the context", 16);
  add_number(peer, "--tokens", x->tokens, "Tokens to decode");
  const auto [report, r] =
      kind("report", "All of this over several lengths: data, tables and charts", run_report);
  report->add_option("--out", r->out, "Folder for report.md, report.jsonl and charts")
      ->type_name("DIR")
      ->required();
  add_number(report, "--lengths", r->lengths, "Tokens of the contexts (default: 512 2000 8000)", 16);
  report->add_option("--method", r->methods, "Of erasing, repeatable (default: all)")->type_name("M");
  add_evict_options(report, r);
  report->add_flag("--quick", r->quick, "512 and 2,000 tokens, each row once: some minutes")
      ->excludes("--repeat");
  report->add_flag("--resume", r->resume, "Go on with what is in the folder");
  const auto [memory, k] = kind("memory", "Memory of one side, in this process", run_memory);
  memory->group("");  // for our own child processes
  memory->add_option("--side", k->memory.side, "ours or peer")->required();
  add_number(memory, "--length", k->memory.length, "Tokens to read");
  add_number(memory, "--tokens", k->memory.tokens, "Tokens to decode");
  memory->add_option("--policy", k->memory.policy, "Evict after reading");
  memory->add_option("--keep", k->memory.keep, "Budget");
  memory->add_flag("!--no-flash", k->memory.flash_attention, "The peer without flash attention");
}

}  // namespace kvedit::cli
