// Words to count: common words (cwe) and frequent coded words (fwe).
#include <numbers>
#include <set>

#include "eval/ruler/ruler.h"
#include "tools/text.h"

namespace kvedit::eval::ruler {
namespace {

constexpr size_t kCommon = 10;
constexpr int kLong = 4096;
constexpr size_t kCodedLength = 6, kAsked = 3;

struct Repeats {
  size_t words, common, uncommon;
};

// "1. word 2. word ..."
std::string numbered(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); i++) text += cat(i > 0 ? " " : "", i + 1, ". ", words[i]);
  return text;
}

Prompt list_of_words(const Repeats& repeats, const Vocabulary& vocabulary, Random& random) {
  std::vector<std::string> words = vocabulary.sample(repeats.words, random), all, common;
  for (size_t i = 0; i < words.size(); i++) {
    if (i < kCommon) common.push_back(words[i]);
    all.insert(all.end(), i < kCommon ? repeats.common : repeats.uncommon, words[i]);
  }
  const Wording& wanted = wording("common_words_extraction");
  Prompt prompt = split_prompt(wanted.text, wanted.prefix, numbered(random.shuffled(all)));
  prompt.references = std::move(common);
  return prompt;
}

std::vector<std::string> coded_words(size_t count, Random& random) {
  std::vector<std::string> words;
  std::set<std::string> seen;
  while (words.size() < count) {
    std::string word;
    for (size_t i = 0; i < kCodedLength; i++) word += static_cast<char>('a' + random.below(26));
    if (seen.insert(word).second) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace

Build common_words(const PromptInputs& inputs) {
  const bool is_long = inputs.length >= kLong;
  Random own = inputs.random;
  const Prompt solved = list_of_words(is_long ? Repeats{40, 10, 3} : Repeats{20, 3, 1}, inputs.words, own);
  const std::string example =
      cat(solved.context, solved.question, solved.prefix, " ", numbered(solved.references), "\n");
  return [is_long, example, own, &words = inputs.words](size_t size, size_t /*rest*/) {
    Random now = own;
    Prompt prompt = list_of_words({size + kCommon, is_long ? 30U : 6U, is_long ? 3U : 1U}, words, now);
    prompt.context.insert(0, example);
    return prompt;
  };
}

// The k-th word of n comes n / (k^2 zeta(2)) times; the first one is noise, the next three are asked for.
Build frequent_words(const PromptInputs& inputs) {
  Random own = inputs.random;
  std::vector<std::string> vocabulary = coded_words(
      std::max<size_t>((inputs.length - wording("freq_words_extraction").answer_tokens) / 50, kAsked + 2),
      own);
  vocabulary[0] = "...";
  return [=](size_t size, size_t /*rest*/) {
    constexpr double kZeta2 = std::numbers::pi * std::numbers::pi / 6;
    Random now = own;
    std::vector<std::string> all;
    for (size_t k = 1; k <= vocabulary.size(); k++) {
      const auto times = static_cast<double>(size) / static_cast<double>(k * k) / kZeta2;
      all.insert(all.end(), static_cast<size_t>(times), vocabulary[k - 1]);
    }
    std::string context;
    for (const std::string& word : now.shuffled(all)) context.append(context.empty() ? "" : " ").append(word);
    const Wording& words = wording("freq_words_extraction");
    Prompt prompt = split_prompt(words.text, words.prefix, context);
    prompt.references.assign(vocabulary.begin() + 1, vocabulary.begin() + 1 + kAsked);
    return prompt;
  };
}

}  // namespace kvedit::eval::ruler
