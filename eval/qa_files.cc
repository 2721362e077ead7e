#include "eval/qa_files.h"

#include <nlohmann/json.hpp>

#include "eval/metrics/similarity.h"
#include "eval/wording.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) fail(ErrorCode::corrupt, "eval", "no text \"", key, "\"");
  return found->get<std::string>();
}

const json& list_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) fail(ErrorCode::corrupt, "eval", "no array \"", key, "\"");
  return *found;
}

// The item with its supporting passage, the first of `candidates` that states the answer.
void keep_if_stated(QaItem item, const std::vector<size_t>& candidates, std::vector<QaItem>& items,
                    LeftOut& left_out) {
  const std::string& answer = item.answers.front();
  if (answer.empty()) return void(left_out["without one answer"]++);
  if (qa_exact(answer, "yes") || qa_exact(answer, "no")) return void(left_out["answered by yes or no"]++);
  for (const size_t i : candidates) {
    if (!says(item.passages.at(i).text, answer)) continue;
    item.supporting = i;
    items.push_back(std::move(item));
    return;
  }
  left_out["with an answer that no supporting passage states"]++;
}

// "Who was the president of #1?"; what is filled in is not read again.
std::string filled(std::string_view question, const std::vector<std::string>& answers) {
  std::string result;
  for (size_t at; (at = question.find('#')) != std::string_view::npos;) {
    result += question.substr(0, at++);
    size_t number = 0, end = at;
    for (; end < question.size() && end < at + 4 && question[end] >= '0' && question[end] <= '9'; end++)
      number = 10 * number + static_cast<size_t>(question[end] - '0');
    const bool known = number > 0 && number <= answers.size();
    result += known ? std::string_view(answers[number - 1]) : question.substr(at - 1, end - at + 1);
    question.remove_prefix(end);
  }
  return result.append(question);
}

std::vector<QaItem> musique(const json& record, bool single_hop, LeftOut& left_out) {
  QaItem item;
  std::vector<size_t> supporting;
  for (const json& paragraph : list_of(record, "paragraphs")) {
    if (paragraph.value("is_supporting", false)) supporting.push_back(item.passages.size());
    item.passages.push_back({text_of(paragraph, "title"), text_of(paragraph, "paragraph_text")});
  }
  std::vector<QaItem> items;
  if (!single_hop) {
    item.question = text_of(record, "question");
    item.answers = {text_of(record, "answer")};
    for (const json& alias : record.value("answer_aliases", json::array())) item.answers.push_back(alias);
    keep_if_stated(std::move(item), supporting, items, left_out);
    return items;
  }
  std::vector<std::string> answers;
  for (const json& hop : list_of(record, "question_decomposition")) {
    QaItem one = item;
    one.question = filled(text_of(hop, "question"), answers);
    one.answers = {text_of(hop, "answer")};
    answers.push_back(one.answers.front());
    const json& place = hop.at("paragraph_support_idx");
    if (!place.is_number_integer()) continue;  // not every hop has one
    const auto index = place.get<int64_t>();
    if (index < 0 || index >= static_cast<int64_t>(one.passages.size()))
      fail(ErrorCode::corrupt, "eval", "paragraph_support_idx ", index, " of ", one.passages.size(),
           " paragraphs");
    // "Hello Love >> performer" is a relation, not a question.
    const size_t relation = one.question.find(" >> ");
    if (relation != std::string::npos) {
      one.question = cat("What is the ", one.question.substr(relation + 4), " of ",
                         one.question.substr(0, relation), "?");
    }
    keep_if_stated(std::move(one), {static_cast<size_t>(index)}, items, left_out);
  }
  return items;
}

// HotpotQA's, and 2WikiMultiHopQA's.
std::vector<QaItem> hotpot(const json& record, LeftOut& left_out) {
  QaItem item;
  item.question = text_of(record, "question");
  item.answers = {text_of(record, "answer")};
  for (const json& paragraph : list_of(record, "context")) {
    std::string text;
    for (const json& sentence : paragraph.at(1)) {
      const auto& words = sentence.get_ref<const std::string&>();
      if (!text.empty() && !words.starts_with(' ')) text += ' ';
      text += words;
    }
    item.passages.push_back({paragraph.at(0).get<std::string>(), std::move(text)});
  }
  std::vector<size_t> supporting;
  for (const json& fact : list_of(record, "supporting_facts")) {
    for (size_t i = 0; i < item.passages.size(); i++) {
      if (item.passages[i].title == fact.at(0)) supporting.push_back(i);
    }
  }
  std::vector<QaItem> items;
  // "comparison", "bridge_comparison": no passage alone states the answer.
  const auto type = record.find("type");
  if (type != record.end() && type->is_string() &&
      type->get_ref<const std::string&>().ends_with("comparison"))
    left_out["comparisons"]++;
  else
    keep_if_stated(std::move(item), supporting, items, left_out);
  return items;
}

std::string iirc_answer(const json& answer) {
  const std::string type = text_of(answer, "type");
  if (type == "value") return text_of(answer, "answer_value");
  if (type != "span") return "";  // yes or no, or none
  const json& spans = list_of(answer, "answer_spans");
  return spans.size() == 1 ? text_of(spans.front(), "text") : "";
}

// A record is a passage with its questions; each question's context has the pieces of linked articles.
std::vector<QaItem> iirc(const json& record, LeftOut& left_out) {
  std::vector<QaItem> items;
  const Passage main{text_of(record, "title"), text_of(record, "text")};
  for (const json& asked : list_of(record, "questions")) {
    QaItem item;
    item.question = text_of(asked, "question");
    item.answers = {iirc_answer(asked.at("answer"))};
    item.passages = {main};
    std::vector<size_t> supporting;
    for (const json& piece : list_of(asked, "context")) {
      const std::string title = text_of(piece, "passage");
      if (title == "main") continue;
      item.passages.push_back({title, text_of(piece, "text")});
    }
    for (size_t i = item.passages.size(); i-- > 0;) supporting.push_back(i);
    keep_if_stated(std::move(item), supporting, items, left_out);
  }
  return items;
}

void take(const json& record, const std::string& where, bool strict, bool single_hop, QaFile& file) {
  try {
    LeftOut left_out;
    std::vector<QaItem> items = read_qa_record(record, single_hop, left_out);
    for (const auto& [why, count] : left_out) file.left_out[why] += count;
    for (QaItem& item : items) file.items.push_back(std::move(item));
  } catch (const std::exception& error) {
    std::string what = error.what();
    if (what.starts_with("[eval] ")) what.erase(0, 7);
    if (strict) fail(ErrorCode::corrupt, "eval", where, ": ", what);
    if (file.malformed++ == 0) file.first_malformed = where + ": " + what;
  }
}

}  // namespace

std::vector<QaItem> read_qa_record(const json& record, bool single_hop, LeftOut& left_out) {
  if (!record.is_object()) fail(ErrorCode::corrupt, "eval", "this is no JSON object");
  if (record.contains("paragraphs")) return musique(record, single_hop, left_out);
  if (record.contains("supporting_facts")) return hotpot(record, left_out);
  if (record.contains("questions")) return iirc(record, left_out);
  fail(ErrorCode::corrupt, "eval",
       "neither \"paragraphs\" (MuSiQue), \"supporting_facts\" (HotpotQA, "
       "2WikiMultiHopQA) nor \"questions\" (IIRC)");
}

QaFile read_qa(std::string_view text, const std::string& name, bool strict, bool single_hop) {
  QaFile file;
  const json whole = json::parse(text, nullptr, false);
  if (whole.is_array()) {
    for (size_t i = 0; i < whole.size(); i++)
      take(whole[i], cat(name, ": record ", i + 1), strict, single_hop, file);
  } else {
    for (int line = 1; !text.empty(); line++) {
      const std::string_view one = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), one.size() + 1));
      if (one.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      take(json::parse(one, nullptr, false), cat(name, ":", line), strict, single_hop, file);
    }
  }
  if (file.items.empty()) {
    fail(ErrorCode::corrupt, "eval", name, " has no question to ask",
         file.malformed > 0 ? "; " + file.first_malformed : std::string());
  }
  return file;
}

}  // namespace kvedit::eval
