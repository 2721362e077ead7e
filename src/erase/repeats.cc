#include "erase/repeats.h"

#include <algorithm>
#include <array>
#include <set>

namespace kvedit {
namespace {

constexpr int kRun = 3;
constexpr int kBehind = 12;

using Words = std::array<Token, kRun>;

Words run_at(std::span<const Token> text, int i) { return {text[i], text[i + 1], text[i + 2]}; }

}  // namespace

Repeats repeats_of(std::span<const std::vector<Token>> erased, std::span<const Token> text, int begin,
                   int budget, std::span<const Span> read) {
  std::set<Words> runs;
  for (const std::vector<Token>& tokens : erased) {
    for (int i = 0; i + kRun <= static_cast<int>(tokens.size()); i++) runs.insert(run_at(tokens, i));
  }
  const auto size = static_cast<int>(text.size());
  std::vector<Span> found;
  for (int i = begin; i + kRun <= size; i++) {
    if (!runs.contains(run_at(text, i))) continue;
    if (!found.empty() && found.back().end == i + kRun - 1) {  // one token longer
      found.back().end++;
    } else {
      found.push_back({i, i + kRun});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](Span a, Span b) { return a.size() > b.size(); });
  std::vector<bool> known(text.size());  // read already, or counted
  for (const Span span : read) {
    for (int i = std::max(0, span.begin); i < std::min(size, span.end); i++) known[i] = true;
  }
  Repeats repeats;
  for (const Span run : found) {
    Span taken{run.begin, run.begin};
    for (int i = run.begin; i < std::min(run.end + kBehind, size); i++) {
      if (!known[i] && budget == 0) {
        repeats.left++;
      } else {
        budget -= known[i] ? 0 : 1;
        if (taken.end == i) taken.end++;
      }
      known[i] = true;
    }
    if (taken.size() > 0 && budget >= 0) repeats.spans.push_back(taken);
  }
  return repeats;
}

}  // namespace kvedit
