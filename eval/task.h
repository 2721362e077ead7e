// A task of the evaluation: it makes examples and judges what a cache made of them. Adding one = its
// file in eval/tasks, its test, one line in the table of task.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "eval/haystack.h"
#include "kvedit/model.h"

namespace kvedit::eval {

/// How a metric is averaged over examples, and shown.
enum class Mean {
  share,       // arithmetic, of values in [0, 1]; shown in percent
  arithmetic,  // shown as it is
  geometric,   // of values above 0: perplexity
};

struct Metric {
  std::string name;
  Mean mean;
};

struct TaskInfo {
  std::string name;
  std::string description;
  std::string protocol;  // what the cache holds when it is compressed, what comes after
  std::vector<Metric> metrics;
};

/// What an example is made from; equal wishes make equal examples.
struct Wish {
  int length = 1024;  // tokens read before the cache is compressed; met within 2 %
  uint64_t seed = 0;
  int index = 0;  // of the example

  Draws draws() const { return Draws{seed, static_cast<uint64_t>(length), static_cast<uint64_t>(index)}; }
};

struct Example {
  std::vector<Token> context;       // read before the cache is compressed, the begin token included
  std::vector<Token> continuation;  // forced afterwards; empty: an answer is generated
  std::string expected;             // of the answer
  int answer_tokens = 0;            // at most generated
};

/// What one cache made of an example.
struct Answer {
  std::string text;       // generated, up to the end of a line
  double kl = 0;          // mean over the continuation of KL(full || this) of the next-token distributions
  double perplexity = 0;  // of the continuation
};

class Task {
 public:
  virtual ~Task() = default;
  virtual TaskInfo info() const = 0;
  /// Throws Error(out_of_range) for a length that it cannot make of this haystack.
  virtual Example make(const Model& model, const Haystack& haystack, const Wish& wish) const = 0;
  /// One value for each metric.
  virtual std::vector<double> score(const Example& example, const Answer& answer) const = 0;
};

/// All tasks, in the order of their table.
std::vector<const Task*> tasks();
/// Throws Error(not_found) naming those there are.
const Task& find_task(std::string_view name);

/// The model's begin token, if it has one, and the text's.
std::vector<Token> tokens_from_start(const Model& model, std::string_view text);

const Task& text_task();
const Task& niah_noise_task();
const Task& niah_keys_task();

}  // namespace kvedit::eval
