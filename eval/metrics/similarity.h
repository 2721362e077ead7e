// Scores of an answer against one reference, equal to those of LongBench's metrics.py (arXiv 2308.14508) and
// of the packages that it stands on. All are in [0, 1].
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kvedit::eval {

class Jieba;

using Words = std::vector<std::u32string>;

/// F1 of the words that two lists have in common, with repetitions; 0 if there are none.
double words_f1(const Words& prediction, const Words& truth);
/// Without case, punctuation and articles.
double qa_f1(std::string_view prediction, std::string_view truth);
/// SQuAD's exact match: the same words in the same order.
bool qa_exact(std::string_view prediction, std::string_view truth);
double qa_f1_chinese(const Jieba& jieba, std::string_view prediction, std::string_view truth);

/// F of ROUGE-L at summary level as the package `rouge` 1.0.1 has it: over the set of the words in longest
/// common subsequences of all pairs of sentences. That package recurses once a word: where Python's stack
/// ends, near 1,000 words without a full stop, the official score is 0, this one goes on.
double rouge_l(std::string_view prediction, std::string_view truth);
double rouge_l_chinese(const Jieba& jieba, std::string_view prediction, std::string_view truth);

/// 1 / the number of classes that the prediction names, if the true one is among them. `classes`: all there
/// are, in the file's order.
double classification(std::string_view prediction, std::string_view truth,
                      const std::vector<std::string>& classes);
/// Share of the prediction's numbers that are the one after `marker` in the truth: "Paragraph " or "段落".
/// Throws Error(corrupt) for a truth without one.
double retrieval(std::string_view prediction, std::string_view truth, std::string_view marker);
/// Share of the prediction's numbers that are the true one.
double count(std::string_view prediction, std::string_view truth);
/// Similarity of the first line that is no comment.
double code_similarity(std::string_view prediction, std::string_view truth);

/// fuzzywuzzy's ratio without python-Levenshtein, in [0, 100]: difflib's ratio rounded to a whole number.
int fuzz_ratio(std::u32string_view a, std::u32string_view b);
/// difflib.SequenceMatcher(None, a, b).ratio()
double sequence_ratio(std::u32string_view a, std::u32string_view b);

}  // namespace kvedit::eval
