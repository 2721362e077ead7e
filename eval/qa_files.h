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
  std::vector<std::string> answers;  // any is right; the first stands in the supporting passage
  std::vector<Passage> passages;
  size_t supporting = 0;  // of the passages: it states the answer
};

/// How many questions are no use, by the reason.
using LeftOut = std::map<std::string, int>;

struct QaFile {
  std::vector<QaItem> items;
  int malformed = 0;            // records left out
  std::string first_malformed;  // where and why
  LeftOut left_out;
};

/// The questions of one record, each with a passage that states the answer word by word; what has none, is
/// answered by yes or no, or compares two passages, is counted as left out. single_hop: those of MuSiQue's
/// decomposition, "#1" replaced by the first one's answer, as items of their own. Throws Error(corrupt)
/// naming what is missing, and nlohmann's exceptions for what has another type.
std::vector<QaItem> read_qa_record(const nlohmann::json& record, bool single_hop, LeftOut& left_out);

/// A whole file's text. A malformed record throws Error(corrupt) naming `name` and its line (or its place in
/// the array) if `strict`, else it is left out and counted. The same error where there is no record at all.
QaFile read_qa(std::string_view text, const std::string& name, bool strict, bool single_hop);

}  // namespace kvedit::eval
