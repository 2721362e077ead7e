// The grid of an evaluation: every example is read once, and its cache forked for each cell.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "eval/loaded_example.h"

namespace kvedit::eval {

/// A cell's answer to one question.
struct QuestionResult {
  std::string kind;
  std::string prompt;  // the prompt's hash
  std::string expected;
  std::string answer;
  std::vector<double> scores;  // [metrics], no_score() among them
};

struct Result {
  int length = 0;
  int example = 0;
  Cell cell;
  std::vector<QuestionResult> questions;
  double edit_ms = 0;     // time of evicting and erasing
  double answer_ms = 0;   // time of all questions
  size_t bytes = 0;       // size of the cache when the answer begins
  std::string policy;     // the policy with all its parameters
  double read_ms = 0;     // time of reading up to the edit, once for all cells
  size_t peak_bytes = 0;  // resident peak of the process, from reading to the last answer
};

/// Hashes all tokens of a question with xxHash, as 16 hexadecimal digits.
std::string prompt_hash(const Example& example, const Question& question);
/// Scores an example's answers, one for each question.
std::vector<QuestionResult> score_answers(const Task& task, const Example& example,
                                          std::vector<Answer> answers);

struct Grid {
  std::vector<Cell> cells;
  std::vector<int> lengths;
  int examples = 1;
  uint64_t seed = 0;
  Adapters adapters;
};

/// Runs each length, example and cell that `have` does not know, and hands every result to `emit` at once.
/// `progress` gets the results done and in all, also while one is made. Throws Error(cancelled), and what
/// Task::make and LoadedExample throw, naming the cell at fault.
void run_grid(const std::shared_ptr<Model>& model, const Task& task, const Grid& grid,
              const std::function<bool(int length, int example, const Cell& cell)>& have,
              const std::function<void(const Result&)>& emit, const Progress& progress = {});

}  // namespace kvedit::eval
