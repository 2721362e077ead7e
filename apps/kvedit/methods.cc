// kvedit methods: the table of erase methods.
#include <iostream>

#include "commands.h"
#include "common.h"
#include "kvedit/erase.h"
#include "table.h"

namespace kvedit::cli {

void add_methods(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("methods", "List the erase methods");
  auto json = std::make_shared<bool>(false);
  add_json(*sub, *json);
  sub->footer("Examples:\n  kvedit methods\n  kvedit methods --json");
  sub->callback([json] {
    if (*json) {
      Json list = Json::array();
      for (const EraseMethodInfo& m : erase_methods()) {
        list.push_back({{"name", m.name},
                        {"exactness", to_string(m.exactness)},
                        {"cost", m.cost},
                        {"needs_adapter", m.needs_adapter},
                        {"description", m.description},
                        {"parameters", parameters_json(m.parameters)}});
      }
      return print_json(list);
    }
    Table table({"method", "exactness", "cost", "what it does"});
    for (const EraseMethodInfo& m : erase_methods()) {
      table.add({m.name, std::string(to_string(m.exactness)), m.cost, m.description});
    }
    table.print(std::cout);
    Table parameters({"parameter", "default", "what it is"});
    for (const EraseMethodInfo& m : erase_methods()) {
      for (const Parameter& p : m.parameters)
        parameters.add({m.name + ":" + p.name, default_of(p), p.description});
    }
    std::cout << "\n";
    parameters.print(std::cout);
  });
}

}  // namespace kvedit::cli
