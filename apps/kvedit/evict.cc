// kvedit evict: a context's cache is cut to a budget with one or more policies, each on its own fork.
#include <iostream>

#include "commands.h"
#include "edit.h"

namespace kvedit::cli {
namespace {

const char* const evict_footer =
    "Examples:\n"
    "  kvedit evict -f notes.txt -q 'What is the code?' --policy snapkv --keep 25%\n"
    "  kvedit evict -f notes.txt -q 'What is the code?' --policy all --keep 512\n"
    "  kvedit evict -f notes.txt --session notes.kv --policy ada-snapkv --keep 8MiB --save small.kv\n"
    "  kvedit evict -f notes.txt --policy snapkv:window=64 --keep 10% --json";

void run(const EditOptions& options) {
  require_context(options);
  if (options.policies.empty() || options.keep.empty()) refuse("evict", "give --policy and --keep");
  Budget::parse(options.keep);
  const std::vector<std::string> policies = chosen_policies(options.policies);
  if (!options.save.empty() && policies.size() != 1) refuse("evict", "--save takes one --policy");

  Prepared prepared = prepare(options);
  const int context_tokens = prepared.session.stats().tokens;
  prepared.before = ask_all(prepared.session, prepared.prompt, options);
  std::vector<Eviction> evictions;
  for (const std::string& policy : policies) {
    // The only eviction is made on the session itself: no fork pins the pages it frees.
    Session session = policies.size() == 1 ? std::move(prepared.session) : prepared.session.fork();
    evictions.push_back(apply_policy(session, prepared, options, policy));
    if (!options.save.empty()) session.save(options.save);
  }

  if (options.common.json) {
    Json json = prepared_json(prepared, context_tokens);
    json["edits"] = Json::array();
    json["evictions"] = Json::array();
    for (const Eviction& e : evictions) json["evictions"].push_back(eviction_json(e));
    return print_json(json);
  }
  print_prepared(prepared, context_tokens);
  print_evictions(evictions);
  std::vector<std::pair<std::string, std::vector<Answer>>> answers = {{"full cache", prepared.before}};
  for (const Eviction& e : evictions) answers.emplace_back(e.policy, e.answers);
  print_answers(answers);
}

}  // namespace

void add_evict(CLI::App& app) {
  CLI::App* const sub =
      app.add_subcommand("evict", "Cut a context's cache to a budget and ask before and after");
  auto options = std::make_shared<EditOptions>();
  add_edit_options(*sub, *options);
  sub->footer(evict_footer);
  sub->callback([options] { run(*options); });
}

}  // namespace kvedit::cli
