#include <array>

#include "eval/fill.h"
#include "eval/fit.h"
#include "eval/ruler/ruler.h"
#include "tools/text.h"

namespace kvedit::eval::ruler {
namespace {

constexpr std::array<std::string_view, 5> kNoise = {
    "The grass is green.", "The sky is blue.", "The sun is yellow.", "Here we go.", "There and back again."};

// The largest n of at most `tokens`, or 0; sizes grow about evenly.
template <typename Size>
size_t largest_size(const Size& size, size_t tokens) {
  size_t high = 1;
  while (size(high) <= tokens) high *= 2;
  size_t low = 0;
  while (low + 1 < high) {
    const size_t middle = low + (high - low) / 2;
    (size(middle) <= tokens ? low : high) = middle;
  }
  return low;
}

}  // namespace

const std::vector<Wording>& wordings() {
  static const std::vector<Wording> table = {
      {"niah", 128,
       "Some special magic {type_needle_v} are hidden within the following text. Make sure to memorize it. I "
       "will "
       "quiz you about the {type_needle_v} afterwards.\n{context}\nWhat are all the special magic "
       "{type_needle_v} "
       "for {query} mentioned in the provided text?",
       " The special magic {type_needle_v} for {query} mentioned in the provided text are"},
      {"variable_tracking", 30,
       "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{context}\n"
       "Question: Find all variables that are assigned the value {query} in the text above.",
       " Answer: According to the chain(s) of variable assignment in the text above, {num_v} variables are "
       "assigned the value {query}, they are: "},
      {"common_words_extraction", 120,
       "Below is a numbered list of words. In these words, some appear more often than others. Memorize the "
       "ones "
       "that appear most often.\n{context}\nQuestion: What are the 10 most common words in the above list?",
       " Answer: The top 10 words that appear most often in the list are:"},
      {"freq_words_extraction", 50,
       "Read the following coded text and track the frequency of each coded word. Find the three most "
       "frequently "
       "appeared coded words. {context}\nQuestion: Do not provide any explanation. Please ignore the dots "
       "'....'. "
       "What are the three most frequently appeared words in the above coded text?",
       " Answer: According to the coded text above, the three most frequently appeared words are:"},
      {"qa", 32,
       "Answer the question based on the given documents. Only give me the answer and do not output any "
       "other "
       "words.\n\nThe following are given documents.\n\n{context}\n\nAnswer the question based on the given "
       "documents. Only give me the answer and do not output any other words.\n\nQuestion: {query}",
       " Answer:", true}};
  return table;
}

const Wording& wording(std::string_view name) {
  for (const Wording& one : wordings())
    if (one.name == name) return one;
  fail(ErrorCode::invalid_argument, "eval", "no wording '", name, "'");
}

Prompt split_prompt(std::string_view text, std::string_view prefix, std::string_view context) {
  constexpr std::string_view kContext = "{context}";
  const size_t at = text.find(kContext);
  return {cat(text.substr(0, at), context),
          std::string(text.substr(at + kContext.size())),
          std::string(prefix),
          {}};
}

Prompt largest(const Build& build, const Count& count, size_t tokens) {
  return build(largest_size([&](size_t n) { return count(build(n, 0)); }, tokens), 0);
}

Prompt fit(const Build& build, const Count& count, size_t tokens) {
  const auto least = static_cast<size_t>((1 - kTolerance) * static_cast<double>(tokens)) + 1;
  const size_t size = largest_size([&](size_t n) { return count(build(n, 0)); }, tokens);
  Prompt prompt = build(size, 0);
  if (count(prompt) < least)
    prompt = build(size, largest_size([&](size_t n) { return count(build(size, n)); }, tokens));
  const size_t made = count(prompt);
  if (made > tokens || made < least)
    fail(ErrorCode::out_of_range, "eval", tokens, " tokens cannot be met within 2 %: the nearest is ", made);
  return prompt;
}

std::string noise_sentences(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; i++) text.append(i > 0 ? " " : "").append(kNoise.at(i % kNoise.size()));
  return text;
}

std::string noise_line() { return noise_sentences(kNoise.size()); }

const std::vector<Synthetic>& synthetic_tasks() {
  static const auto needles = [](const NiahShape& shape) {
    return [shape](const PromptInputs& inputs) { return niah(shape, inputs); };
  };
  static const std::vector<Synthetic> table = {
      {"niah_single_1", "niah", needles({Filler::noise, Needle::words, Needle::numbers})},
      {"niah_single_2", "niah", needles({Filler::essay, Needle::words, Needle::numbers})},
      {"niah_single_3", "niah", needles({Filler::essay, Needle::words, Needle::uuids})},
      {"niah_multikey_1", "niah",
       needles({.filler = Filler::essay, .key = Needle::words, .value = Needle::numbers, .keys = 4})},
      {"niah_multikey_2", "niah", needles({Filler::needle, Needle::words, Needle::numbers})},
      {"niah_multikey_3", "niah", needles({Filler::needle, Needle::uuids, Needle::uuids})},
      {"niah_multivalue", "niah",
       needles({.filler = Filler::essay, .key = Needle::words, .value = Needle::numbers, .values = 4})},
      {"niah_multiquery", "niah",
       needles({.filler = Filler::essay, .key = Needle::words, .value = Needle::numbers, .queries = 4})},
      {"vt", "variable_tracking", tracking},
      {"cwe", "common_words_extraction", common_words},
      {"fwe", "freq_words_extraction", frequent_words}};
  return table;
}

Prompt make(const Synthetic& task, const PromptInputs& inputs) {
  const int room = inputs.length - wording(task.wording).answer_tokens;
  if (room <= 0)
    fail(ErrorCode::out_of_range, "eval", "length ", inputs.length, " has no room for ", task.name);
  return fit(task.build(inputs), inputs.count, static_cast<size_t>(room));
}

}  // namespace kvedit::eval::ruler
