#include "eval/metrics/similarity.h"

#include <algorithm>
#include <map>

#include "eval/metrics/jieba.h"
#include "eval/metrics/text.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

constexpr std::u32string_view kChinesePunctuation =
    U"！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙"
    U"〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏.";

std::u32string without(std::u32string_view text, bool (*drop)(char32_t)) {
  std::u32string kept;
  std::copy_if(text.begin(), text.end(), std::back_inserter(kept), [&](char32_t c) { return !drop(c); });
  return kept;
}

// \b(a|an|the)\b: runs of word characters, after punctuation has gone.
std::u32string without_articles(std::u32string_view text) {
  std::u32string kept, word;
  const auto close = [&] {
    if (word == U"a" || word == U"an" || word == U"the") word.assign(1, U' ');
    kept += word;
    word.clear();
  };
  for (const char32_t c : text) {
    if (is_word(c)) {
      word += c;
      continue;
    }
    close();
    kept += c;
  }
  close();
  return kept;
}

Words answer_words(std::string_view text) {
  return split(without_articles(without(lower(code_points(text)), is_ascii_punctuation)));
}

Words chinese_words(const Jieba& jieba, std::string_view text) {
  Words words;
  for (const std::u32string& word : jieba.cut(code_points(text))) {
    std::u32string kept = without(lower(word), [](char32_t c) {
      return is_ascii_punctuation(c) || is_space(c) || kChinesePunctuation.find(c) != std::string::npos;
    });
    if (!kept.empty()) words.push_back(std::move(kept));
  }
  return words;
}

std::string spaced(const Jieba& jieba, std::string_view text) {
  std::u32string all;
  for (const std::u32string& word : jieba.cut(code_points(text)))
    all.append(all.empty() ? U"" : U" ").append(word);
  return utf8(all);
}

double share_equal(const Words& numbers, const std::u32string& number) {
  if (numbers.empty()) return 0;
  return static_cast<double>(std::count(numbers.begin(), numbers.end(), number)) /
         static_cast<double>(numbers.size());
}

}  // namespace

double words_f1(const Words& prediction, const Words& truth) {
  std::map<std::u32string_view, int> left;
  for (const std::u32string& word : truth) left[word]++;
  int same = 0;
  for (const std::u32string& word : prediction) same += left[word]-- > 0;
  if (same == 0) return 0;
  const double precision = same / static_cast<double>(prediction.size());
  const double recall = same / static_cast<double>(truth.size());
  return 2 * precision * recall / (precision + recall);
}

double qa_f1(std::string_view prediction, std::string_view truth) {
  return words_f1(answer_words(prediction), answer_words(truth));
}

bool qa_exact(std::string_view prediction, std::string_view truth) {
  return answer_words(prediction) == answer_words(truth);
}

double qa_f1_chinese(const Jieba& jieba, std::string_view prediction, std::string_view truth) {
  return words_f1(chinese_words(jieba, prediction), chinese_words(jieba, truth));
}

double rouge_l_chinese(const Jieba& jieba, std::string_view prediction, std::string_view truth) {
  return rouge_l(spaced(jieba, prediction), spaced(jieba, truth));
}

double classification(std::string_view prediction, std::string_view truth,
                      const std::vector<std::string>& classes) {
  std::vector<std::string_view> named;
  for (const std::string& name : classes)
    if (prediction.find(name) != std::string::npos) named.push_back(name);
  // The official loop removes from the list that it walks over, and so skips what follows.
  for (size_t i = 0; i < named.size(); i++) {
    const std::string_view name = named[i];
    if (name != truth && truth.find(name) != std::string::npos)
      named.erase(std::find(named.begin(), named.end(), name));
  }
  const bool right = std::find(named.begin(), named.end(), truth) != named.end();
  return right ? 1.0 / static_cast<double>(named.size()) : 0.0;
}

double retrieval(std::string_view prediction, std::string_view truth, std::string_view marker) {
  for (size_t at = truth.find(marker); at != std::string::npos; at = truth.find(marker, at + 1)) {
    const std::u32string rest = code_points(truth.substr(at + marker.size()));
    const Words first = numbers(rest);
    if (!first.empty() && rest.starts_with(first[0]))
      return share_equal(numbers(code_points(prediction)), first[0]);
  }
  fail(ErrorCode::corrupt, "eval", "no number after '", marker, "' in the answer '", truth, "'");
}

double count(std::string_view prediction, std::string_view truth) {
  return share_equal(numbers(code_points(prediction)), code_points(truth));
}

double code_similarity(std::string_view prediction, std::string_view truth) {
  prediction.remove_prefix(std::min(prediction.find_first_not_of('\n'), prediction.size()));
  for (const std::u32string& line : split(code_points(prediction), U'\n')) {
    const auto has = [&](std::u32string_view mark) { return line.find(mark) != std::string::npos; };
    if (!has(U"`") && !has(U"#") && !has(U"//")) return fuzz_ratio(line, code_points(truth)) / 100.0;
  }
  return fuzz_ratio({}, code_points(truth)) / 100.0;
}

}  // namespace kvedit::eval
