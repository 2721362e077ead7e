// kvedit eval: tasks' examples through a grid of policies, budgets and erase methods.
#include <CLI/CLI.hpp>
#include <iostream>
#include <sstream>

#include "commands.h"
#include "eval_run.h"
#include "table.h"

namespace kvedit::cli {
namespace {

const char* const eval_footer =
    "Writes into DIR: results.jsonl, a line for each example and cell as it is done; at the end "
    "results.json,\n"
    "table.md and plots. The exact cache is always measured too, as the reference. `eval all` runs every "
    "task\n"
    "into a folder of its own. Where something is erased, projections run in f32 unless --linear says "
    "otherwise:\n"
    "else rounding alone would be as far from the exact cache as a good method. docs/eval.md has protocols "
    "and\n"
    "metrics.\n"
    "Examples:\n"
    "  kvedit eval --list\n"
    "  kvedit eval all --quick --out quick\n"
    "  kvedit eval text --policy snapkv --policy laprox --keep 25% --keep 10% --out text\n"
    "  kvedit eval niah:needles=4,depths=5 --policy all --keep 25% --examples 50 --lengths 2048 --out keys\n"
    "  kvedit eval text --method all --adapter eraser.gguf --out erased\n"
    "  kvedit eval text --policy kvedit --keep 5% --haystack books/ --out books --resume";

void print_parameters(const eval::TaskEntry& task) {
  for (const Parameter& p : task.parameters) {
    std::cout << (&p == &task.parameters.front() ? "\n" + task.name + "\n" : "") << "  " << p.name << ": "
              << p.description;
    for (const std::string& choice : p.choices)
      std::cout << (&choice == &p.choices.front() ? " (" : ", ") << choice;
    std::cout << (p.choices.empty() ? "" : ")") << "\n";
  }
}

void list_tasks(bool json) {
  Json list = Json::array();
  Table table({"task", "parameters", "--data", "what it asks"});
  for (const eval::TaskEntry& task : eval::tasks()) {
    std::string text;
    for (const Parameter& p : task.parameters)
      text += (text.empty() ? ":" : ",") + p.name + "=" + default_of(p);
    const char* const data = task.data == eval::Data::none       ? "-"
                             : task.data == eval::Data::optional ? "optional"
                                                                 : "needed";
    table.add({task.name, text, data, task.description});
    list.push_back({{"name", task.name},
                    {"parameters", parameters_json(task.parameters)},
                    {"data", data},
                    {"erases", task.erases},
                    {"evicts", task.evicts},
                    {"lengths", task.lengths},
                    {"description", task.description}});
  }
  if (json) return print_json(list);
  table.print(std::cout);
  for (const eval::TaskEntry& task : eval::tasks()) print_parameters(task);
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* const sub =
      app.add_subcommand("eval", "Measure what policies and erasing do to a model's answers");
  auto o = std::make_shared<EvalOptions>();
  sub->add_option("task", o->task, "One of --list, with its parameters behind a colon, or all")
      ->type_name("TASK");
  auto list = std::make_shared<bool>(false);
  sub->add_flag("--list", *list, "List the tasks and their parameters");
  sub->add_option("--policy", o->policies, "Repeatable; all: every one that needs no file")->type_name("P");
  sub->add_option("--keep", o->keeps, "Budget, repeatable: 10%, 512 or 64MiB")->type_name("K");
  sub->add_option("--method", o->methods, "Erase method, repeatable; none: nothing is erased; all")
      ->type_name("M");
  sub->add_option("--adapter", o->adapters, "Of the method that needs one, repeatable")->type_name("FILE");
  sub->add_option("--examples", o->examples, "Of each length (default: 32)")
      ->check(CLI::Range(1, 1000000))
      ->type_name("N");
  sub->add_option("--lengths", o->lengths, "Tokens of the contexts, one or more (default: the task's)")
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("L");
  sub->add_option("--seed", o->seed, "Of the examples")->type_name("S")->capture_default_str();
  auto* const after = sub->add_flag("--question-after", o->question_after,
                                    "The context is read and edited alone (most tasks' default)");
  auto* const first =
      sub->add_flag("--question-first", o->question_first, "The question is read before the cache is edited");
  auto* const answer = sub->add_flag("--answer-first", o->answer_first,
                                     "So is the beginning of the answer, where there is one");
  after->excludes(first, answer);
  first->excludes(answer);
  sub->add_option("--haystack", o->haystack, "Prose: a text file, or a folder's .txt files")
      ->type_name("PATH")
      ->capture_default_str();
  sub->add_option("--data", o->data, "A data set's file, repeatable; TASK=FILE with `all`")
      ->type_name("FILE");
  sub->add_flag("--strict", o->strict, "A malformed record is an error, not left out and counted");
  sub->add_option("--reference", o->references,
                  "Cell to compare with; one that erases, one that does not (default: full, drop)")
      ->type_name("CELL");
  sub->add_flag("--quick", o->quick, "Few small examples; policies and methods unless given");
  auto* const out = sub->add_option("--out", o->out, "Folder for results, table and plots")->type_name("DIR");
  sub->add_flag("--resume", o->resume, "Go on with what is in it")->needs(out);
  sub->add_option("--dump-examples", o->dump, "Write the examples for another implementation instead")
      ->type_name("FILE")
      ->excludes(out);
  sub->add_option("--answers", o->answers, "What one made of them, to stand in the tables; repeatable")
      ->type_name("FILE")
      ->needs(out);
  add_common(*sub, o->common);
  sub->footer(eval_footer);
  sub->callback([o, list, sub] {
    if (*list) return list_tasks(o->common.json);
    if (o->task.empty()) refuse("eval", "name a TASK, or all; `kvedit eval --list` has them");
    o->linear_given = sub->count("--linear") > 0;
    run_eval(*o);
  });
}

}  // namespace kvedit::cli
