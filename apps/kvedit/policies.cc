// kvedit policies: the table of eviction policies.
#include <algorithm>
#include <iostream>
#include <sstream>

#include "commands.h"
#include "common.h"
#include "kvedit/evict.h"
#include "policies_markdown.h"
#include "table.h"

namespace kvedit::cli {
namespace {

constexpr size_t kColumns = 100;  // where standard output is no terminal

struct PoliciesCommand {
  std::string name;
  bool json = false;
  bool markdown = false;
};

void print_policies_json() {
  Json list = Json::array();
  for (const PolicyInfo& policy : policies()) {
    list.push_back({{"name", policy.name},
                    {"definition", policy.definition},
                    {"paper", policy.paper},
                    {"description", policy.description},
                    {"parameters", parameters_json(policy.parameters)}});
  }
  print_json(list);
}

PolicyInfo policy_named(const std::string& name) {
  for (const PolicyInfo& policy : policies()) {
    if (policy.name == name) return policy;
  }
  throw Error(ErrorCode::not_found, "policies", "no policy '" + name + "'; `kvedit policies` lists them");
}

void print_policy(const PolicyInfo& policy) {
  std::cout << policy.name << ": " << policy.description << "\nmade of " << policy.definition << "\n"
            << (policy.paper.empty() ? "" : policy.paper + "\n");
  if (policy.parameters.empty()) return;
  Table table({"parameter", "default", "what it is"});
  for (const Parameter& p : policy.parameters)
    table.add({p.name, p.free_text ? "TEXT" : default_of(p), p.description});
  std::cout << "\n";
  table.print(std::cout);
}

void run(const PoliciesCommand& command) {
  if (command.json) return print_policies_json();
  if (command.markdown) {
    std::cout << policies_markdown();
    return;
  }
  if (!command.name.empty()) return print_policy(policy_named(command.name));
  size_t longest = 0;
  for (const PolicyInfo& p : policies()) longest = std::max(longest, p.name.size());
  const size_t columns = terminal_columns() == 0 ? kColumns : terminal_columns();
  for (const PolicyInfo& p : policies()) {
    const std::string name = p.name + std::string(longest - p.name.size() + 2, ' ');
    std::cout << name << wrapped(p.description, columns, std::string(name.size(), ' ')) << "\n";
  }
  std::cout << "\n`kvedit policies NAME` shows what one is made of, its paper and its parameters.\n";
}

}  // namespace

void add_policies(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("policies", "List the eviction policies and their parameters");
  auto command = std::make_shared<PoliciesCommand>();
  sub->add_option("NAME", command->name, "Only this one, wholly")->type_name("");
  add_json(*sub, command->json);
  sub->add_flag("--markdown", command->markdown, "As docs/policies.md");
  sub->footer("Examples:\n  kvedit policies\n  kvedit policies snapkv\n  kvedit policies --json");
  sub->callback([command] { run(*command); });
}

}  // namespace kvedit::cli
