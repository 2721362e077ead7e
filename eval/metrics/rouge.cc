#include <set>

#include "eval/metrics/similarity.h"
#include "eval/metrics/text.h"

namespace kvedit::eval {
namespace {

using WordSet = std::set<std::u32string>;

// What `rouge` takes for sentences: what is between full stops, each as its words. One of white space
// alone is one empty word.
std::vector<Words> sentences_of(std::string_view text) {
  std::vector<Words> sentences;
  for (const std::u32string& part : split(code_points(text), U'.')) {
    if (part.empty()) continue;
    Words words = split(part);
    if (words.empty()) words.emplace_back();
    sentences.push_back(std::move(words));
  }
  return sentences;
}

WordSet words_of(const std::vector<Words>& sentences) {
  WordSet words;
  for (const Words& sentence : sentences) words.insert(sentence.begin(), sentence.end());
  return words;
}

// The words of one longest common subsequence; which one, of several, is the package's choice.
void add_common(const Words& x, const Words& y, WordSet& words) {
  const size_t columns = y.size() + 1;
  std::vector<int> length((x.size() + 1) * columns);  // [x + 1][y + 1]
  for (size_t i = 1; i <= x.size(); i++) {
    for (size_t j = 1; j < columns; j++) {
      const int up = length[(i - 1) * columns + j], left = length[i * columns + j - 1];
      length[i * columns + j] =
          x[i - 1] == y[j - 1] ? length[(i - 1) * columns + j - 1] + 1 : std::max(up, left);
    }
  }
  for (size_t i = x.size(), j = y.size(); i > 0 && j > 0;) {
    if (x[i - 1] == y[j - 1]) {
      words.insert(x[i - 1]);
      i--;
      j--;
    } else if (length[(i - 1) * columns + j] > length[i * columns + j - 1]) {
      i--;
    } else {
      j--;
    }
  }
}

}  // namespace

double rouge_l(std::string_view prediction, std::string_view truth) {
  const std::vector<Words> predicted = sentences_of(prediction), expected = sentences_of(truth);
  if (predicted.empty() || expected.empty()) return 0;
  WordSet common;
  for (const Words& a : expected)
    for (const Words& b : predicted) add_common(a, b, common);
  const auto size = static_cast<double>(common.size());
  const double recall = size / static_cast<double>(words_of(expected).size());
  const double precision = size / static_cast<double>(words_of(predicted).size());
  return 2.0 * ((precision * recall) / (precision + recall + 1e-8));
}

}  // namespace kvedit::eval
