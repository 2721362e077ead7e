// The work of `kvedit eval`.
#pragma once

#include <string>
#include <vector>

#include "common.h"
#include "eval/task.h"

namespace kvedit::cli {

struct EvalOptions {
  CommonOptions common;
  bool linear_given = false;  // else tasks that erase run in f32
  std::string task;
  std::vector<std::string> policies, keeps, methods, adapters;
  int examples = 0;          // 0: the default
  std::vector<int> lengths;  // empty: the task's
  uint64_t seed = 1;
  bool question_after = false, question_first = false, answer_first = false;
  std::string haystack{eval::kDefaultHaystack};
  std::vector<std::string> data;
  bool strict = false;
  std::vector<std::string> references;
  bool quick = false;
  std::string out;
  bool resume = false;
  std::string dump;                  // file for the examples; then nothing else happens
  std::vector<std::string> answers;  // files of other implementations
};

void run_eval(const EvalOptions& options);

}  // namespace kvedit::cli
