#include "eval/metrics/jieba.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "eval/metrics/text.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

constexpr double kImpossible = -3.14e100;
constexpr std::string_view kStateNames = "BEMS";  // ascending: ties go to the later one
enum State { begin, end, middle, single };
// Which states may come before one.
constexpr std::array<std::array<State, 2>, 4> kBefore = {
    {{end, single}, {begin, middle}, {begin, middle}, {end, single}}};

bool is_han(char32_t c) { return c >= 0x4e00 && c <= 0x9fd5; }
bool is_ascii_alnum(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool in_block(char32_t c) {
  return is_han(c) || is_ascii_alnum(c) || std::u32string_view(U"+#&._%-").find(c) != std::string::npos;
}

std::ifstream open(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(ErrorCode::not_found, "eval", "no ", path,
         ": Chinese scores need the dictionary of jieba (Debian's package python3-jieba)");
  }
  return file;
}

// `P={...}` in Python's notation, which is JSON but for the quotes.
nlohmann::json read_table(const std::string& path) {
  std::stringstream stream;
  stream << open(path).rdbuf();
  std::string text = stream.str();
  text.erase(0, std::min(text.find('{'), text.size()));
  std::replace(text.begin(), text.end(), '\'', '"');
  nlohmann::json table = nlohmann::json::parse(text, nullptr, false);
  if (!table.is_object()) fail(ErrorCode::corrupt, "eval", path, " holds no table");
  return table;
}

// The length of what re_skip matches at the beginning: [a-zA-Z0-9]+(?:\.\d+)?%?
size_t latin_length(std::u32string_view text) {
  const auto run = [&](size_t from, auto&& has) {
    while (from < text.size() && has(text[from])) from++;
    return from;
  };
  size_t length = run(0, is_ascii_alnum);
  if (length == 0) return 0;
  if (length + 1 < text.size() && text[length] == '.') {
    const size_t after = run(length + 1, [](char32_t c) { return c >= '0' && c <= '9'; });
    if (after > length + 1) length = after;
  }
  return length < text.size() && text[length] == '%' ? length + 1 : length;
}

}  // namespace

Jieba Jieba::load(const std::string& folder) {
  Jieba jieba;
  std::ifstream file = open(folder + "/dict.txt");
  int64_t total = 0, number = 0;
  for (std::string line; std::getline(file, line);) {
    number++;
    const size_t space = line.find(' ');
    int64_t frequency = -1;
    if (space != std::string::npos)
      std::from_chars(line.data() + space + 1, line.data() + line.size(), frequency);
    if (space == 0 || frequency < 0)
      fail(ErrorCode::corrupt, "eval", folder, "/dict.txt:", number, ": not a word and its frequency");
    const std::u32string points = code_points(std::string_view(line).substr(0, space));
    jieba.words_[points] = frequency;
    total += frequency;
    for (size_t i = 1; i < points.size(); i++) jieba.words_.try_emplace(points.substr(0, i), 0);
  }
  if (total == 0) fail(ErrorCode::corrupt, "eval", folder, "/dict.txt has no words");
  jieba.log_total_ = std::log(static_cast<double>(total));

  const nlohmann::json start = read_table(folder + "/finalseg/prob_start.py"),
                       trans = read_table(folder + "/finalseg/prob_trans.py"),
                       emit = read_table(folder + "/finalseg/prob_emit.py");
  try {
    for (size_t s = 0; s < kStates; s++) {
      const std::string name(1, kStateNames[s]);
      jieba.start_.at(s) = start.at(name).get<double>();
      for (size_t to = 0; to < kStates; to++)
        jieba.trans_.at(s).at(to) = trans.at(name).value(std::string(1, kStateNames[to]), kImpossible);
      for (const auto& [key, value] : emit.at(name).items())
        jieba.emit_.at(s)[code_points(key).at(0)] = value.get<double>();
    }
  } catch (const std::exception& error) {
    fail(ErrorCode::corrupt, "eval", folder, "/finalseg: ", error.what());
  }
  return jieba;
}

int64_t Jieba::frequency(const std::u32string& word) const {
  const auto found = words_.find(word);
  return found == words_.end() ? 0 : found->second;
}

std::vector<std::u32string> Jieba::cut(std::u32string_view text) const {
  Cut words;
  for (size_t i = 0; i < text.size();) {
    size_t to = i;
    while (to < text.size() && in_block(text[to])) to++;
    if (to > i) {
      cut_dictionary(text.substr(i, to - i), words);
    } else {
      to = text.substr(i, 2) == U"\r\n" ? i + 2 : i + 1;
      words.emplace_back(text.substr(i, to - i));
    }
    i = to;
  }
  return words;
}

// The path of the greatest product of frequencies, from the end; of equals the longer word.
void Jieba::cut_dictionary(std::u32string_view text, Cut& words) const {
  std::vector<std::pair<double, size_t>> route(text.size() + 1);  // [place]: log-probability, the word's end
  for (size_t k = text.size(); k-- > 0;) {
    std::pair<double, size_t> best;
    bool any = false;
    const auto offer = [&](size_t to, int64_t count) {
      const double log =
          std::log(static_cast<double>(std::max<int64_t>(count, 1))) - log_total_ + route[to].first;
      best = any ? std::max(best, std::pair(log, to)) : std::pair(log, to);
      any = true;
    };
    for (size_t to = k + 1; to <= text.size(); to++) {
      const auto found = words_.find(std::u32string(text.substr(k, to - k)));
      if (found == words_.end()) break;
      if (found->second > 0) offer(to, found->second);
    }
    if (!any) offer(k + 1, 0);
    route[k] = best;
  }
  std::u32string singles;
  for (size_t k = 0; k < text.size();) {
    const size_t to = route[k].second;
    if (to - k == 1) {
      singles += text[k];
    } else {
      cut_unknown(singles, words);
      singles.clear();
      words.emplace_back(text.substr(k, to - k));
    }
    k = to;
  }
  cut_unknown(singles, words);
}

// A stretch of single characters.
void Jieba::cut_unknown(std::u32string_view text, Cut& words) const {
  if (text.size() < 2 || frequency(std::u32string(text)) > 0) {
    for (const char32_t c : text) words.emplace_back(1, c);
    return;
  }
  for (size_t i = 0; i < text.size();) {
    size_t to = i;
    while (to < text.size() && is_han(text[to])) to++;
    if (to > i) {
      cut_hidden(text.substr(i, to - i), words);
    } else if (const size_t latin = latin_length(text.substr(i)); latin > 0) {
      to = i + latin;
      words.emplace_back(text.substr(i, latin));
    } else {
      while (to < text.size() && !is_han(text[to]) && latin_length(text.substr(to)) == 0) to++;
      words.emplace_back(text.substr(i, to - i));
    }
    i = to;
  }
}

// Viterbi.
void Jieba::cut_hidden(std::u32string_view text, Cut& words) const {
  const auto emitted = [&](size_t state, char32_t c) {
    const auto found = emit_.at(state).find(c);
    return found == emit_.at(state).end() ? kImpossible : found->second;
  };
  std::array<double, kStates> score{};
  std::vector<std::array<State, kStates>> from(text.size());
  for (size_t s = 0; s < kStates; s++) score.at(s) = start_.at(s) + emitted(s, text[0]);
  for (size_t t = 1; t < text.size(); t++) {
    std::array<double, kStates> next{};
    for (size_t s = 0; s < kStates; s++) {
      const double emission = emitted(s, text[t]);
      std::pair<double, State> best;
      for (size_t b = 0; b < 2; b++) {
        const State before = kBefore.at(s).at(b);
        const std::pair path(score.at(before) + trans_.at(before).at(s) + emission, before);
        best = b == 0 ? path : std::max(best, path);
      }
      next.at(s) = best.first;
      from[t].at(s) = best.second;
    }
    score = next;
  }
  std::vector<State> states(text.size());
  states.back() = score.at(single) >= score.at(end) ? single : end;
  for (size_t t = text.size() - 1; t > 0; t--) states[t - 1] = from[t].at(states[t]);
  size_t first = 0;
  for (size_t t = 0; t < text.size(); t++) {
    if (states[t] == begin) first = t;
    if (states[t] == single) first = t;
    if (states[t] == end || states[t] == single) words.emplace_back(text.substr(first, t - first + 1));
  }
}

}  // namespace kvedit::eval
