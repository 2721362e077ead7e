// Another implementation beside ours: it gets the tokens of the same examples, and what it answers is scored
// and tabulated as ours is. bench/peers/kvpress_eval.py is one.
#pragma once

#include <string>
#include <vector>

#include "eval/results.h"

namespace kvedit::eval {

/// Writes a line of JSON for the setting, with the tokens that end an answer and the metrics' names, then one
/// for each length and example: docs/formats.md. Throws Error(io), and what Task::make does.
void write_examples(const std::string& path, const Model& model, const Task& task, const Grid& grid,
                    const Json& setting);

struct Peer {
  std::string made_by;      // programs, versions, arithmetic
  std::vector<Cell> cells;  // in the order of the file
};

/// Scores the answers of the file and adds them to `results`. Throws Error(not_found) for the file,
/// Error(corrupt) with file and line for what is no answer, Error(invalid_argument) for another model's,
/// those to another prompt, and questions that are compared with the exact cache's own answer.
Peer add_peer(const std::string& path, const Model& model, const Task& task, const Grid& grid,
              Results& results);

/// Means over examples, a line for each length and cell: what the clock says, and memory. Throws
/// Error(not_found) for a missing result.
std::string costs_to_markdown(const Results& results, const Grid& grid, bool sized);

}  // namespace kvedit::eval
