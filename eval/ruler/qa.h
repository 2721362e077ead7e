// RULER's qa_1 and qa_2: the documents of a question among others of its data set.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "eval/ruler/ruler.h"

namespace kvedit::eval::ruler {

struct QaQuestion {
  std::string query;
  std::vector<std::string> answers;
  std::vector<size_t> documents;  // documents of its own, which are always there
  std::vector<size_t> more;       // documents of the same article, which come before others
};

struct QaSet {
  std::string name;  // "qa_1": SQuAD's format, "qa_2": HotpotQA's
  std::vector<std::string> documents;
  std::vector<QaQuestion> questions;
};

/// Reads the official file of SQuAD or HotpotQA. Malformed records are given to `skip` with what is wrong.
/// Throws Error(invalid_argument) for a file of another kind.
QaSet read_qa(const nlohmann::json& file, const std::function<void(const std::string& what)>& skip);

/// Makes a prompt of at most `tokens` tokens, choosing documents so that 2 % are met. Returns nothing where
/// the question's own documents are too long, or no others fit.
std::optional<Prompt> qa(const QaSet& set, size_t question, const Count& count, size_t tokens, Random random);

}  // namespace kvedit::eval::ruler
