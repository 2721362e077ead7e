// Running another program.
#pragma once

#include <string>
#include <vector>

namespace kvedit {

struct Finished {
  int exit_code = 0;   // for a signal 128 and its number
  std::string output;  // text of standard output
  std::string errors;  // text of standard error, unless that is ours
};

/// Runs words[0] (found on PATH unless it has a slash) with the other words as they are, no shell between,
/// and waits for its end. input: its standard input. own_errors: its standard error is collected, else it
/// goes where ours goes. Throws Error(not_found) when there is no such program, Error(io) when it cannot be
/// run.
Finished run_program(const std::vector<std::string>& words, const std::string& input = {},
                     bool own_errors = false);

}  // namespace kvedit
