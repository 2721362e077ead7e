// docs/policies.md, from the library's tables.
#pragma once

#include <string>

namespace kvedit::cli {

std::string policies_markdown();

}  // namespace kvedit::cli
