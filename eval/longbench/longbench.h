// LongBench (arXiv 2308.14508): its 21 data sets, with their prompts, lengths of answers and scores.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/metrics/jieba.h"

namespace kvedit::eval::longbench {

struct Reference {
  std::string_view prediction, truth;
  const std::vector<std::string>& classes;
  const Jieba* jieba;  // of a Chinese data set
};

struct DataSet {
  std::string_view name;
  int answer_tokens;
  double (*score)(const Reference& reference);
  std::string_view metric;
  std::string_view prompt;  // with {context} and, where there is a question, {input}
  bool chinese = false;     // its score needs jieba
  bool chat = true;         // the prompt is put in the model's chat format
  bool first_line = false;  // only the answer's first line counts
};

const std::vector<DataSet>& data_sets();
/// Finds a data set; LongBench-E's names ("qasper_e") are those of the same sets. Throws Error(not_found)
/// with the names there are.
const DataSet& find_data_set(std::string_view name);

/// Returns the best score of the answer against any of the references. jieba may be missing where the set is
/// not Chinese.
double score(const DataSet& set, std::string_view answer, const std::vector<std::string>& references,
             const std::vector<std::string>& classes, const Jieba* jieba);

/// A line of an official file.
struct Record {
  std::string data_set;  // its name in the file, or else the caller's guess
  std::string input, context;
  std::vector<std::string> answers;
  std::vector<std::string> classes;
};
/// Throws Error(corrupt) saying what is missing. name: of the data set where the line does not say.
Record parse_record(std::string_view line, std::string_view name);

}  // namespace kvedit::eval::longbench
