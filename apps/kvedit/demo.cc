// kvedit demo: the main job, end to end. A long context with a wrong fact is read once; the fact is
// erased with each method, the cache is evicted with some policies, and the same question is asked.
#include <algorithm>
#include <iostream>

#include "commands.h"
#include "common.h"
#include "demo_text.h"
#include "edit.h"
#include "eraser.h"
#include "prompt.h"
#include "table.h"

namespace kvedit::cli {
namespace {

const char* const demo_footer =
    "Examples:\n"
    "  kvedit demo\n"
    "  kvedit demo --length 4000 --policy snapkv --policy random --keep 10%\n"
    "  kvedit demo --json";

struct DemoCommand {
  CommonOptions common;
  int length = 1500;
  uint64_t seed = 1;
  int max_tokens = 32;
  std::string keep = "25%";
  std::vector<std::string> policies;  // empty: those of `usual` that exist
};

constexpr std::string_view usual[] = {"streaming-llm", "random", "snapkv", "ada-snapkv", "laprox", "lkv"};

struct Step {
  std::string step;
  std::string method;
  std::string answer;
  double ms = 0;
  int recomputed = 0;
  size_t bytes = 0;
};

std::vector<std::string> demo_policies(const DemoCommand& command, const Model& model) {
  if (!command.policies.empty()) return command.policies;
  std::vector<std::string> names;
  for (const PolicyInfo& policy : policies()) {
    if ((!policy.needs_file() || !model.companion(".lkv.gguf").empty()) &&
        std::find(std::begin(usual), std::end(usual), policy.name) != std::end(usual))
      names.push_back(policy.name);
  }
  return names;
}

Session read(const DemoCommand& command, const std::shared_ptr<Model>& model, const Prompt& prompt) {
  auto count = [&model](const std::string& text) { return static_cast<int>(model->tokenize(text).size()); };
  Session session(model);
  ProgressLine line("reading the context, tokens");
  prompt.append_context(session, demo_text(command.length, command.seed, count), line.progress());
  return session;
}

std::vector<Step> work(const DemoCommand& command, const Session& full, const Prompt& prompt,
                       const std::shared_ptr<const Adapter>& adapter, double prefill_ms) {
  auto answer = [&](const Session& session) {
    return ask(session, prompt, demo_question, command.max_tokens).text;
  };
  const SessionStats stats = full.stats();
  std::vector<Step> steps = {{"read", "prefill", answer(full), prefill_ms, stats.tokens, stats.bytes}};
  std::vector<EraseMethodInfo> methods = erase_methods();
  if (adapter == nullptr)
    std::erase_if(methods, [](const EraseMethodInfo& method) { return method.needs_adapter; });
  const std::vector<std::string> evictions = demo_policies(command, *full.model());
  ProgressLine line("trying methods and policies,");
  const Progress show = line.progress();
  auto next = [&] { show(steps.size(), methods.size() + evictions.size()); };
  const Span wrong = full.find_one(demo_wrong_fact).tokens;
  Session clean = full.fork();
  for (const EraseMethodInfo& method : methods) {
    next();
    Session session = full.fork();
    EraseOptions options;
    options.method = method.name;
    options.adapter = adapter;
    const EraseReport r = session.erase(wrong, options);
    steps.push_back({"erase", method.name + " (" + std::string(to_string(r.exactness)) + ")", answer(session),
                     r.ms, r.tokens_recomputed, r.bytes_after});
    if (r.exactness == Exactness::exact) clean = std::move(session);
  }
  for (const std::string& policy : evictions) {
    next();
    Session session = clean.fork();
    prompt.append_question(session, demo_question);
    EvictOptions options;
    options.seed = command.seed;
    const EvictReport r = session.evict(policy, Budget::parse(command.keep), options);
    steps.push_back({"evict to " + command.keep, policy, reply(session, prompt, command.max_tokens),
                     r.score_ms + r.compact_ms, 0, r.bytes_after});
  }
  return steps;
}

void print(const ModelInfo& info, const std::vector<Step>& steps) {
  std::cout << info.name << ", " << info.linear << " on " << info.attention << ", " << info.threads
            << " threads\n"
            << "A text of " << grouped(steps.front().recomputed)
            << " tokens says, far apart:\n  right: " << demo_right_fact << "\n  wrong: " << demo_wrong_fact
            << "\nThe question: " << demo_question
            << "\nThe wrong sentence is erased from the cache. What `recompute` leaves is evicted, the "
               "question read.\n\n";
  Table table({"step", "method", "answer", ">ms", ">recomputed", ">cache MiB"});
  for (const Step& s : steps) {
    table.add({s.step, s.method, one_line(s.answer, 56), milliseconds(s.ms), grouped(s.recomputed),
               mebibytes(s.bytes)});
  }
  table.print(std::cout);
  std::cout << "\nTry next:\n"
               "  kvedit chat                         talk, then /erase what was said\n"
               "  kvedit erase -f FILE --span TEXT -q QUESTION --method all\n"
               "  kvedit evict -f FILE -q QUESTION --policy all --keep 10%\n";
}

void run(const DemoCommand& command) {
  Budget::parse(command.keep);
  const std::shared_ptr<Model> model = load_model(command.common);
  const Prompt prompt(*model, false);
  const Stopwatch watch;
  const Session full = read(command, model, prompt);
  const double prefill_ms = watch.ms();
  const std::vector<Step> steps = work(command, full, prompt, eraser(*model, {}, {"all"}), prefill_ms);
  if (!command.common.json) return print(model->info(), steps);
  Json json = {{"model", model->info().name}, {"context_tokens", full.stats().tokens},
               {"right", demo_right_fact},    {"wrong", demo_wrong_fact},
               {"question", demo_question},   {"steps", Json::array()}};
  for (const Step& s : steps) {
    json["steps"].push_back({{"step", s.step},
                             {"method", s.method},
                             {"answer", s.answer},
                             {"ms", s.ms},
                             {"tokens_recomputed", s.recomputed},
                             {"cache_bytes", s.bytes}});
  }
  print_json(json);
}

}  // namespace

void add_demo(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("demo", "Erase a wrong fact, evict the cache, and keep answering");
  auto command = std::make_shared<DemoCommand>();
  sub->add_option("--length", command->length, "Tokens of the context, about")
      ->check(CLI::Range(200, 1 << 20))
      ->capture_default_str()
      ->type_name("N");
  sub->add_option("--seed", command->seed, "Of the text, and of policies that draw lots")
      ->capture_default_str()
      ->type_name("N");
  sub->add_option("--keep", command->keep, "What eviction keeps")->capture_default_str()->type_name("BUDGET");
  sub->add_option("--policy", command->policies, "Instead of the usual ones; repeatable")
      ->type_name("NAME")
      ->allow_extra_args(false);
  add_common(*sub, command->common);
  sub->footer(demo_footer);
  sub->callback([command] { run(*command); });
}

}  // namespace kvedit::cli
