// Another implementation beside ours. It gets the tokens of the same examples, and its answers are scored
// and tabulated like ours; bench/peers/kvpress_eval.py is one.
#pragma once

#include <string>
#include <vector>

#include "eval/results.h"

namespace kvedit::eval {

/// Writes JSON lines (docs/formats.md): the setting with the tokens that end an answer and the metrics'
/// names, then one line for each length and example. Throws Error(io), and what Task::make does.
void write_examples(const std::string& path, const Model& model, const Task& task, const Grid& grid,
                    const Json& setting);

struct Peer {
  std::string made_by;      // its programs, versions, arithmetic
  std::vector<Cell> cells;  // in the order of the file
};

/// Scores the file's answers and adds them to `results`. Throws Error(not_found) for the file,
/// Error(corrupt) with file and line for a line that is no answer, and Error(invalid_argument) for answers
/// of another model, to another prompt, or to questions that are compared with the exact cache's own answer.
Peer add_peer(const std::string& path, const Model& model, const Task& task, const Grid& grid,
              Results& results);

/// Tabulates time and memory, means over examples, a line for each length and cell. Throws Error(not_found)
/// for a missing result.
std::string costs_to_markdown(const Results& results, const Grid& grid, bool sized);

}  // namespace kvedit::eval
