#include "policies_markdown.h"

#include <sstream>

#include "common.h"
#include "kvedit/evict.h"
#include "tools/text.h"

namespace kvedit::cli {
namespace {

std::string paper_link(const std::string& paper) {
  constexpr std::string_view kArxiv = "arXiv ";
  if (!paper.starts_with(kArxiv)) return paper.empty() ? "-" : paper;
  return "[" + paper + "](https://arxiv.org/abs/" + paper.substr(kArxiv.size()) + ")";
}

void write(std::ostream& out, const std::vector<Parameter>& parameters) {
  for (const Parameter& p : parameters) {
    out << "| `" << p.name << "` | " << default_of(p) << " | ";
    out << join(p.choices);
    if (p.free_text) out << "any text";
    if (p.choices.empty() && !p.free_text) out << p.minimum << ".." << static_cast<long long>(p.maximum);
    out << " | " << p.description << " |\n";
  }
}

void write_part(std::ostream& out, const PolicyPart& part) {
  out << "\n### `" << part.name << "`\n\n"
      << part.description << " Paper: " << paper_link(part.paper) << "\n";
  if (part.parameters.empty()) return;
  out << "\n| parameter | default | values | meaning |\n|---|---|---|---|\n";
  write(out, part.parameters);
}

void write_parts(std::ostream& out, PolicyPart::Kind kind) {
  for (const PolicyPart& part : policy_parts()) {
    if (part.kind != kind) continue;
    write_part(out, part);
    if (kind != PolicyPart::Kind::scorer) continue;
    out << "\nWith it, `sinks` is " << part.sinks << " and `recent` " << part.recent << " by default.\n";
  }
}

}  // namespace

std::string policies_markdown() {
  std::ostringstream out;
  out << "# Eviction policies\n\n"
         "Generated from the table in `src/evict/policies.cc`; `build/kvedit policies --markdown "
         ">docs/policies.md` writes it anew.\n\n"
         "A policy is a name below, any `scorer+allocator`, or `combinator(policy;...)`; each takes "
         "parameters: "
         "`snapkv:window=64,kernel=5`,\n`snapkv+adaptive:alpha=0.5`, "
         "`critical(snapkv+adaptive):first=0.25,window=64`. A parameter that several parts of a\ncombination "
         "have is called `a.name` for the first policy in the parentheses and `b.name` for the second:\n"
         "`mix(snapkv;laprox):share=0.3,b.window=16`. A budget is a share of the entries "
         "attention can "
         "still reach (`25%`), tokens a lane on\naverage (`512`), or bytes of the whole cache (`64MiB`). A "
         "budget the "
         "cache meets as it stands keeps everything.\nElse entries outside the window of sliding-window "
         "layers go "
         "first and do not count, `sinks` and `recent` entries\nstay, and the rest compete.\n\n"
         "## Policies\n\n| name | made of | paper | |\n|---|---|---|---|\n";
  for (const PolicyInfo& policy : policies()) {
    out << "| `" << policy.name << "` | `" << policy.definition << "` | " << paper_link(policy.paper) << " | "
        << policy.description << " |\n";
  }
  out << "\nEvery policy has:\n\n| parameter | default | meaning |\n|---|---|---|\n"
         "| `sinks` | by scorer | first entries of every lane of a full-attention layer, always kept |\n"
         "| `recent` | by scorer | last entries of every lane, always kept; at least the scorer's window "
         "|\n\n"
         "## Scorers\n";
  write_parts(out, PolicyPart::Kind::scorer);
  out << "\n## Allocators\n";
  write_parts(out, PolicyPart::Kind::allocator);
  out << "\n## Combinators\n";
  write_parts(out, PolicyPart::Kind::combinator);
  return out.str();
}

}  // namespace kvedit::cli
