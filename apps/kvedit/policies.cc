// kvedit policies: the table of eviction policies.
#include <iostream>
#include <sstream>

#include "commands.h"
#include "common.h"
#include "kvedit/evict.h"
#include "table.h"

#if __has_include("evict/policies_doc.h")
#include "evict/policies_doc.h"
#define KVEDIT_HAS_POLICIES_DOC 1
#endif

namespace kvedit::cli {
namespace {

struct PoliciesCommand {
  bool json = false;
  bool markdown = false;
};

std::string parameters(const PolicyInfo& policy) {
  std::ostringstream text;
  for (const PolicyParameter& p : policy.parameters) {
    text << (text.tellp() > 0 ? "," : "") << p.name << "=";
    if (p.free_text) {
      text << "TEXT";
    } else if (!p.choices.empty()) {
      text << p.choices.at(static_cast<size_t>(p.value));
    } else {
      text << p.value;
    }
  }
  return text.str();
}

void print_policies_json() {
  Json list = Json::array();
  for (const PolicyInfo& policy : policies()) {
    Json parameters = Json::array();
    for (const PolicyParameter& p : policy.parameters) {
      parameters.push_back({{"name", p.name}, {"default", p.value}, {"description", p.description}});
    }
    list.push_back({{"name", policy.name},
                    {"definition", policy.definition},
                    {"paper", policy.paper},
                    {"description", policy.description},
                    {"parameters", parameters}});
  }
  print_json(list);
}

void run(const PoliciesCommand& command) {
  if (command.json) return print_policies_json();
#ifdef KVEDIT_HAS_POLICIES_DOC
  if (command.markdown) {
    std::cout << policies_markdown();
    return;
  }
#endif
  Table table({"policy", "made of", "parameters", "paper", "what it does"});
  for (const PolicyInfo& p : policies())
    table.add({p.name, p.definition, parameters(p), p.paper, p.description});
  table.print(std::cout);
}

}  // namespace

void add_policies(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("policies", "List the eviction policies and their parameters");
  auto command = std::make_shared<PoliciesCommand>();
  add_json(*sub, command->json);
#ifdef KVEDIT_HAS_POLICIES_DOC
  sub->add_flag("--markdown", command->markdown, "As docs/policies.md");
#endif
  sub->footer("Examples:\n  kvedit policies\n  kvedit policies --json");
  sub->callback([command] { run(*command); });
}

}  // namespace kvedit::cli
