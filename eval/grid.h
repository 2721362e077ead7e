// The grid of an evaluation: every example is read once, and its cache forked for each cell.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "eval/task.h"
#include "kvedit/session.h"

namespace kvedit::eval {

/// What is done to the cache.
struct Cell {
  std::string policy;
  std::string keep;  // a Budget as text
  bool operator==(const Cell&) const = default;
};

/// The reference: nothing is done.
inline const Cell kFull = {"full", "100%"};

struct Result {
  int length = 0;
  int example = 0;
  Cell cell;
  std::string prompt;  // xxHash of all its tokens, 16 hexadecimal digits
  std::string expected;
  std::string answer;
  std::vector<double> scores;  // [metrics]
  double ms = 0;               // evicting and answering
  size_t bytes = 0;            // of the cache when the answer begins
  std::string policy;          // with all parameters
};

struct Grid {
  std::vector<Cell> cells;
  std::vector<int> lengths;
  int examples = 1;
  uint64_t seed = 0;
};

/// Runs what `have` does not know of each length, example and cell, and hands every result to `emit` at once.
/// progress: results done and in all, also called while one is made. Throws Error(cancelled), and what
/// Task::make, Session::append_tokens and Session::evict throw, with the cell at fault.
void run_grid(const std::shared_ptr<Model>& model, const Task& task, const Haystack& haystack,
              const Grid& grid, const std::function<bool(int length, int example, const Cell& cell)>& have,
              const std::function<void(const Result&)>& emit, const Progress& progress = {});

}  // namespace kvedit::eval
