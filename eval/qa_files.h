// Questions over several passages, from the official files of MuSiQue, HotpotQA, 2WikiMultiHopQA and IIRC: a
// JSON array, or a record a line.
#pragma once

#include <cstddef>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "eval/entities.h"

namespace kvedit::eval {

struct QaItem {
  std::string question;
  std::vector<std::string> answers;  // right answers; the first stands in the supporting passage
  std::vector<Passage> passages;
  size_t supporting = 0;  // index of the passage that states the answer
};

/// Numbers of questions left out, by the reason.
using LeftOut = std::map<std::string, int>;

struct QaFile {
  std::vector<QaItem> items;
  int malformed = 0;            // records left out
  std::string first_malformed;  // where and why
  LeftOut left_out;
};

/// Reads the questions of one record, each with a passage that states the answer word by word. A question
/// without one, one answered by yes or no, and a comparison of passages are counted as left out. single_hop:
/// the steps of MuSiQue's decomposition become items of their own, "#1" replaced by the first one's answer.
/// Throws Error(corrupt) naming what is missing, and nlohmann's exceptions for a wrong type.
std::vector<QaItem> read_qa_record(const nlohmann::json& record, bool single_hop, LeftOut& left_out);

/// Reads a whole file's text. If `strict`, a malformed record throws Error(corrupt) naming `name` and its
/// line (or its index in the array), else it is left out and counted. A text without any record throws it
/// too.
QaFile read_qa(std::string_view text, const std::string& name, bool strict, bool single_hop);

}  // namespace kvedit::eval
