// The demo's context: varied plain English about a harbour town, with two facts among it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace kvedit::cli {

extern const char* const demo_right_fact;
extern const char* const demo_wrong_fact;
extern const char* const demo_question;

/// Writes about `tokens` tokens as `count` counts them; no sentence stands twice, as long as the templates
/// last (some 2,500 tokens). The wrong fact comes last but stands well before the end.
std::string demo_text(int tokens, uint64_t seed, const std::function<int(const std::string&)>& count);

}  // namespace kvedit::cli
