// Chinese word segmentation as jieba 0.42.1 does it (`jieba.cut(text)`): the most probable path through
// the words of a dictionary, unknown stretches by a hidden Markov model over B, M, E, S
// (begin, middle, end, single). The dictionary and the model are the package's files, read at run time.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace kvedit::eval {

/// Where Debian's python3-jieba has them.
inline constexpr std::string_view kJiebaFolder = "/usr/lib/python3/dist-packages/jieba";

class Jieba {
 public:
  /// Reads dict.txt and finalseg/prob_{start,trans,emit}.py of the folder. Throws Error(not_found) naming the
  /// package, Error(corrupt) with file and line.
  static Jieba load(const std::string& folder = std::string(kJiebaFolder));

  std::vector<std::u32string> cut(std::u32string_view text) const;

 private:
  static constexpr int kStates = 4;
  using Cut = std::vector<std::u32string>;

  int64_t frequency(const std::u32string& word) const;
  void cut_dictionary(std::u32string_view text, Cut& words) const;
  void cut_unknown(std::u32string_view text, Cut& words) const;
  void cut_hidden(std::u32string_view text, Cut& words) const;

  std::unordered_map<std::u32string, int64_t> words_;  // beginnings of words too, with 0
  double log_total_ = 0;
  std::array<double, kStates> start_{};                       // log-probabilities, of B, E, M, S
  std::array<std::array<double, kStates>, kStates> trans_{};  // [from][to]
  std::array<std::unordered_map<char32_t, double>, kStates> emit_;
};

}  // namespace kvedit::eval
