// A task of the evaluation: it makes examples and judges what a cache made of them. Adding one = its
// file in eval/tasks, its test, one line in the table of task.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "eval/haystack.h"
#include "evict/policy.h"
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

/// What stands in the cache when it is edited: the context alone, or the question too, or also the beginning
/// of the answer. `own` is what the task does unasked.
enum class Order { own, question_after, question_first, answer_first };

/// What examples are made of, beside their spec.
struct TaskOptions {
  std::shared_ptr<const Haystack> haystack;
  std::vector<std::string> data;  // files
  bool strict = false;            // a malformed record is an error, not skipped
  Order order = Order::own;
  Parameters parameters;  // as the task's table declares them
};

struct TaskInfo {
  std::string name;
  std::string description;
  std::string protocol;  // what the cache holds when it is edited, what comes after
  std::vector<Metric> metrics;
  bool sized = true;  // examples have the length that is asked for; else one of their own
  int examples = 0;   // there are no more; 0: any number
  /// Mean of the first metric that the exact cache must reach for the model to be able to do it.
  double able = 0;
  std::vector<std::string> notes;  // for the report: records left out, and why
};

/// What an example is made from; equal specs make equal examples.
struct ExampleSpec {
  int length = 1024;  // tokens read before the cache is edited; met within 2 %
  uint64_t seed = 0;
  int index = 0;  // of the example

  Random random() const { return Random{seed, static_cast<uint64_t>(length), static_cast<uint64_t>(index)}; }
};

/// Asked of an example's cache, each on a fork of its own.
struct Question {
  std::string kind;           // "stale/unique": rows of the report, also for what stands before each '/'
  int cut = -1;               // tokens of the context that it follows; -1: all of them
  std::vector<Token> before;  // read before the cache is edited
  std::vector<Token> after;   // and what is read afterwards
  std::vector<Token> continuation;  // forced then; if there is none, an answer is generated
  /// One of them is chosen by its likelihood instead.
  std::vector<std::vector<Token>> candidates;
  std::vector<std::string> names;     // of the candidates
  std::vector<std::string> expected;  // any of these is right
  std::string wrong;                  // what only the erased text says
  int answer_tokens = 32;             // at most generated
  std::vector<std::string> stop = {"\n"};
  bool begins = false;    // the answer's first token is neither an end nor a line break alone
  bool compared = false;  // with the exact cache, token by token of what that one answers
};

struct Example {
  std::vector<Token> context;  // read before the cache is edited, the begin token included
  std::vector<Span> erased;    // of the context; what an erase method erases
  std::vector<Question> questions;
};

/// What one cache made of a question. The exact cache is that of a fresh prefill without what was erased,
/// unevicted.
struct Answer {
  std::string text;  // generated
  int chosen = -1;   // of the candidates
  std::string exact_text;
  int exact_chosen = -1;
  bool same = false;      // as the exact cache's
  double kl = 0;          // mean of KL(exact || this) of next-token distributions, over what was forced
  double perplexity = 0;  // of the continuation
};

/// The value of a metric that a question does not have.
double no_score();

class Task {
 public:
  virtual ~Task() = default;
  virtual TaskInfo info() const = 0;
  /// Throws Error(out_of_range) for a length that it cannot make.
  virtual Example make(const Model& model, const ExampleSpec& spec) const = 0;
  /// One value for each metric, or no_score().
  virtual std::vector<double> score(const Question& question, const Answer& answer) const = 0;
};

/// Files given by path.
enum class Data { none, optional, needed };

/// A line of the table of tasks.
struct TaskEntry {
  std::string name;
  std::string description;
  std::vector<PolicyParameter> parameters;
  Data data = Data::none;
  bool erases = false;  // examples have a span to erase
  bool evicts = true;   // and make sense where nothing is erased
  std::vector<int> lengths = {1024};
  int quick_examples = 4;  // of --quick
  std::unique_ptr<Task> (*open)(const TaskOptions& options) = nullptr;
};

/// All tasks, in the order of their table.
const std::vector<TaskEntry>& tasks();
/// A task by its name and parameters, "niah:needles=4,depths=10". Throws Error(not_found) naming those there
/// are.
const TaskEntry& find_task(std::string_view text);
/// Throws Error(invalid_argument, out_of_range) for parameters, Error(invalid_argument) where it needs files
/// and none is given or the other way round, and what reading them throws.
std::unique_ptr<Task> open_task(std::string_view text, TaskOptions options);

/// The model's begin token, if it has one, and the text's.
std::vector<Token> tokens_from_start(const Model& model, std::string_view text);

/// The question with its place in `order`; opening: the beginning of the answer.
Question ordered_question(const Model& model, Order order, std::string_view question,
                          std::string_view opening);
/// "context alone; question, ... after": for TaskInfo::protocol.
std::string describe(Order order);

TaskEntry text_task();
TaskEntry niah_task();
TaskEntry niah_noise_task();
TaskEntry niah_keys_task();
TaskEntry ruler_task();
TaskEntry longbench_task();
TaskEntry erase_niah_task();
TaskEntry erase_qa_task();
TaskEntry erase_injection_task();

}  // namespace kvedit::eval
