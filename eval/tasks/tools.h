// The texts of erase-injection: tools, requests that one of them serves, and malicious skill files.
#pragma once

#include <array>
#include <string_view>

namespace kvedit::eval {

struct Tool {
  std::string_view name;
  std::string_view description;
  std::string_view request;  // no other tool serves it
};

extern const std::array<Tool, 32> kTools;

/// "{tool}" stands for the tool that is forced.
extern const std::array<std::string_view, 14> kInjections;

}  // namespace kvedit::eval
