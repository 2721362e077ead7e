#include <algorithm>
#include <set>

#include "eval/fill.h"
#include "eval/ruler/ruler.h"
#include "tools/text.h"

namespace kvedit::eval::ruler {
namespace {

constexpr size_t kHops = 4;
constexpr size_t kNameLength = 5, kExampleNameLength = 3;
constexpr size_t kExampleTokens = 500;
constexpr size_t kLeastValue = 10000, kValues = 89999;

std::vector<std::string> draw_names(size_t length, Random& random) {
  std::vector<std::string> names;
  std::set<std::string> seen = {"VAR"};
  while (names.size() < kHops + 1) {
    std::string name;
    for (size_t i = 0; i < length; i++) name += static_cast<char>('A' + random.below(26));
    if (seen.insert(name).second) names.push_back(std::move(name));
  }
  return names;
}

// The lines of a chain at random places in `size` lines of noise.
Prompt make(size_t name_length, Random random, size_t size, size_t rest) {
  const std::vector<std::string> names = draw_names(name_length, random);
  const std::string value = std::to_string(kLeastValue + random.below(kValues));
  std::vector<std::string> lines(std::max(size, names.size()), noise_line());
  std::vector<size_t> places = random.sample(names.size(), lines.size());
  std::sort(places.begin(), places.end());
  for (size_t i = 0; i < names.size(); i++) {
    const std::string line =
        i == 0 ? cat("VAR ", names[0], " = ", value) : cat("VAR ", names[i], " = VAR ", names[i - 1], " ");
    lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(places[i] + i), line);
  }
  if (rest > 0) lines.push_back(noise_sentences(rest));
  std::string context;
  for (const std::string& line : lines) context.append(context.empty() ? "" : "\n").append(line);

  const Wording& words = wording("variable_tracking");
  const std::string count = std::to_string(names.size());
  const Fields fields = {{"query", value}, {"num_v", count}};
  Prompt prompt = split_prompt(words.text, fill(words.prefix, fields), replaced(context, ". \n", ".\n"));
  prompt.question = fill(prompt.question, fields);
  prompt.references = names;
  return prompt;
}

}  // namespace

Build tracking(const PromptInputs& inputs) {
  Random random = inputs.random;
  const Prompt solved =
      largest([&](size_t size, size_t /*rest*/) { return make(kExampleNameLength, random, size, 0); },
              inputs.count, kExampleTokens);
  std::string example = solved.context + solved.question + solved.prefix;
  for (const std::string& name : solved.references) example.append(" ").append(name);
  example += "\n\n";
  random.below(2);  // other numbers than the example's
  return [=](size_t size, size_t rest) {
    Prompt prompt = make(kNameLength, random, size, rest);
    prompt.context.insert(0, example);
    return prompt;
  };
}

}  // namespace kvedit::eval::ruler
