// RULER (arXiv 2404.06654): its tasks' wording, sizes and scores. The random choices are ours: equal seeds
// make equal examples on every machine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/haystack.h"
#include "eval/ruler/words.h"

namespace kvedit::eval::ruler {

/// The wording that several tasks share.
struct Wording {
  std::string_view name;
  int answer_tokens;
  std::string_view text;    // with {context}, and the question after it
  std::string_view prefix;  // of the answer
  bool any = false;         // one reference is enough (string_match_part), else all count
};
const std::vector<Wording>& wordings();
/// `name` is one of them.
const Wording& wording(std::string_view name);

struct Prompt {
  std::string context;   // the text to read, and the words before it
  std::string question;  // the words after it
  std::string prefix;    // of the answer
  std::vector<std::string> references;
};

/// Cuts `text` and `prefix` into the parts of a prompt and replaces {context}; other fields are left.
Prompt split_prompt(std::string_view text, std::string_view prefix, std::string_view context);

/// Makes a prompt with `size` units of filler, and `rest` short sentences of noise in a line at its end.
/// Equal arguments make equal prompts.
using Build = std::function<Prompt(size_t size, size_t rest)>;
/// Counts the tokens of a prompt.
using Count = std::function<size_t(const Prompt&)>;

/// Returns the largest prompt without a rest of at most `tokens` tokens, or that of size 0.
Prompt largest(const Build& build, const Count& count, size_t tokens);
/// Returns the largest prompt of at most `tokens` tokens. RULER's unit of filler is a line in some tasks,
/// which leaves short texts far from the length asked for; beyond 2 % the rest is filled with noise. Throws
/// Error(out_of_range) for a length that no size meets.
Prompt fit(const Build& build, const Count& count, size_t tokens);

/// RULER's noise, as sentences and as a line.
std::string noise_line();
std::string noise_sentences(size_t count);

/// What a prompt is made of.
struct PromptInputs {
  const Vocabulary& words;
  const Haystack& haystack;
  const Count& count;
  int length;  // tokens, those of the answer included
  Random random;
};

/// A needle in a haystack: its 8 variants.
enum class Filler { noise, essay, needle };
enum class Needle { numbers, words, uuids };
struct NiahShape {
  Filler filler;
  Needle key, value;
  int keys = 1, values = 1, queries = 1;
};
Build niah(const NiahShape& shape, const PromptInputs& inputs);
/// Variable tracking: one chain of 4 hops, with a solved example before it.
Build tracking(const PromptInputs& inputs);
/// Common words: 10 that come more often than the others. Below 4,096 tokens they come 6 times, the others
/// once; else 30 times and 3 times.
Build common_words(const PromptInputs& inputs);
/// Frequent coded words, by a zeta distribution.
Build frequent_words(const PromptInputs& inputs);

/// The 11 tasks that need no file.
struct Synthetic {
  std::string_view name;     // "niah_single_1"
  std::string_view wording;  // "niah"
  std::function<Build(const PromptInputs& inputs)> build;
};
const std::vector<Synthetic>& synthetic_tasks();
/// Throws what fit() does.
Prompt make(const Synthetic& task, const PromptInputs& inputs);

}  // namespace kvedit::eval::ruler
