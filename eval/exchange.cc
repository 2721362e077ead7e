#include "eval/exchange.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>

#include "tools/fingerprint.h"
#include "tools/text.h"

namespace kvedit::eval {
namespace {

Json spans_json(const std::vector<Span>& spans) {
  Json list = Json::array();
  for (const Span& span : spans) list.push_back({span.begin, span.end});
  return list;
}

Json question_json(const Question& question, const std::string& prompt) {
  return {{"kind", question.kind},
          {"prompt", prompt},
          {"cut", question.cut},
          {"before", question.before},
          {"after", question.after},
          {"continuation", question.continuation},
          {"candidates", question.candidates},
          {"names", question.names},
          {"expected", question.expected},
          {"wrong", question.wrong},
          {"answer_tokens", question.answer_tokens},
          {"stop", question.stop},
          {"begins", question.begins},
          {"compared", question.compared}};
}

std::vector<Token> end_tokens(const Model& model) {
  std::vector<Token> ends;
  for (Token token = 0; token < model.info().vocabulary; token++)
    if (model.is_end(token)) ends.push_back(token);
  return ends;
}

Answer answer_of(const Json& json, const Question& question, const Model& model) {
  if (question.compared || !question.candidates.empty()) {
    fail(ErrorCode::invalid_argument, "eval",
         "the task compares with what the exact cache answers: no other implementation can be scored");
  }
  Answer answer;
  if (question.continuation.empty()) {
    answer.text = answer_text(model, json.at("tokens").get<std::vector<Token>>(), question);
  } else {
    json.at("kl").get_to(answer.kl);
    json.at("perplexity").get_to(answer.perplexity);
  }
  return answer;
}

class Reader {
 public:
  Reader(const Model& model, const Task& task, const Grid& grid) : model_(model), task_(task), grid_(grid) {}

  std::string header(const Json& json) const {
    const auto theirs = json.at("fingerprint").get<std::string>();
    const std::string ours = fingerprint_text(model_.info().fingerprint);
    if (theirs != ours)
      fail(ErrorCode::invalid_argument, "eval", "answers of model ", theirs, ", not ", ours);
    return json.at("made_by");
  }

  Result result(const Json& json) {
    Result result = read_measured(json);
    const Example& example = this->example(result.length, result.example);
    const Json& list = json.at("answers");
    if (list.size() != example.questions.size()) {
      fail(ErrorCode::invalid_argument, "eval", list.size(), " answers to ", example.questions.size(),
           " questions");
    }
    std::vector<Answer> answers;
    for (size_t i = 0; i < list.size(); i++)
      answers.push_back(answer_of(list[i], example.questions[i], model_));
    result.questions = score_answers(task_, example, std::move(answers));
    for (size_t i = 0; i < list.size(); i++) {
      if (list[i].at("prompt") == result.questions[i].prompt) continue;
      fail(ErrorCode::invalid_argument, "eval", "prompt ", list[i].at("prompt").get<std::string>(), ", not ",
           result.questions[i].prompt);
    }
    return result;
  }

 private:
  // Lines of one example mostly follow each other.
  const Example& example(int length, int index) {
    if (!made_ || length != length_ || index != index_) {
      example_ = task_.make(model_, {length, grid_.seed, index});
      made_ = true, length_ = length, index_ = index;
    }
    return example_;
  }

  const Model& model_;
  const Task& task_;
  const Grid& grid_;
  Example example_;
  bool made_ = false;
  int length_ = 0, index_ = 0;
};

bool in(const Grid& grid, const Result& result) {
  return result.example < grid.examples &&
         std::find(grid.lengths.begin(), grid.lengths.end(), result.length) != grid.lengths.end();
}

}  // namespace

void write_examples(const std::string& path, const Model& model, const Task& task, const Grid& grid,
                    const Json& setting) {
  std::ofstream file(path, std::ios::binary);
  const auto write = [&](const Json& line) {
    file << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
    if (!file) fail(ErrorCode::io, "eval", "cannot write ", path);
  };
  Json header = setting;
  header["end_tokens"] = end_tokens(model);
  header["metrics"] = Json::array();
  for (const Metric& metric : task.info().metrics) header["metrics"].push_back(metric.name);
  write(header);
  for (const int length : grid.lengths) {
    for (int i = 0; i < grid.examples; i++) {
      const Example example = task.make(model, {length, grid.seed, i});
      Json questions = Json::array();
      for (const Question& question : example.questions)
        questions.push_back(question_json(question, prompt_hash(example, question)));
      write({{"length", length},
             {"example", i},
             {"context", example.context},
             {"erased", spans_json(example.erased)},
             {"questions", questions}});
    }
  }
}

Peer add_peer(const std::string& path, const Model& model, const Task& task, const Grid& grid,
              Results& results) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::not_found, "eval", "cannot open ", path);
  Reader reader(model, task, grid);
  Peer peer;
  std::string line;
  for (int number = 1; std::getline(file, line); number++) {
    try {
      const Json json = Json::parse(line);
      if (number == 1) {
        peer.made_by = reader.header(json);
        continue;
      }
      const Result result = reader.result(json);
      if (!in(grid, result)) continue;
      if (std::find(peer.cells.begin(), peer.cells.end(), result.cell) == peer.cells.end())
        peer.cells.push_back(result.cell);
      const bool same =
          results.have(result.length, result.example, result.cell) &&
          results.to_json(results.get(result.length, result.example, result.cell)) == results.to_json(result);
      if (!same) results.add(result);
    } catch (const nlohmann::json::exception& error) {
      fail(ErrorCode::corrupt, "eval", path, ":", number, ": no answers: ", error.what());
    } catch (const Error& error) {
      fail(error.code(), "eval", path, ":", number, ": ", error.message());
    }
  }
  return peer;
}

std::string costs_to_markdown(const Results& results, const Grid& grid, bool sized) {
  std::ostringstream text;
  text << "\nMeans over examples: milliseconds of reading what stands before the edit (ours: once for all "
          "cells), of the edit, and of reading what follows and answering; peak of resident memory.\n\n"
          "| tokens | cell | read ms | edit ms | answer ms | peak MiB |\n|---:|---|---:|---:|---:|---:|\n";
  for (const int length : grid.lengths) {
    for (const Cell& cell : grid.cells) {
      double read = 0, edit = 0, answer = 0, peak = 0;
      for (int i = 0; i < grid.examples; i++) {
        const Result& result = results.get(length, i, cell);
        read += result.read_ms / grid.examples;
        edit += result.edit_ms / grid.examples;
        answer += result.answer_ms / grid.examples;
        peak += static_cast<double>(result.peak_bytes) / 0x1p20 / grid.examples;
      }
      char numbers[128];
      std::snprintf(numbers, sizeof numbers, "%.0f | %.1f | %.0f | %.0f", read, edit, answer, peak);
      text << "| " << (sized ? std::to_string(length) : "own") << " | " << cell.text() << " | " << numbers
           << " |\n";
    }
  }
  return text.str();
}

}  // namespace kvedit::eval
