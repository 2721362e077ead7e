// docs/policies.md, generated from the table; policies_test.cc compares the two.
#pragma once

#include <string>

namespace kvedit {

std::string policies_markdown();

}  // namespace kvedit
