// A task of the evaluation: it makes examples and judges what a cache made of them. Adding one = its
// file in eval/tasks, its test, one line in the table of task.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "eval/haystack.h"
#include "kvedit/model.h"
#include "tools/parameters.h"

namespace kvedit::eval {

/// How a metric is averaged over examples and shown.
enum class Mean {
  share,       // arithmetic, of values in [0, 1]; shown in percent
  arithmetic,  // shown as it is
  geometric,   // of values above 0: perplexity
};

struct Metric {
  std::string name;
  Mean mean;
};

/// What stands in the cache when it is edited: the context alone, the question too, or also the beginning of
/// the answer. `own` leaves it to the task.
enum class Order { own, question_after, question_first, answer_first };

/// What a task is opened with.
struct TaskOptions {
  std::shared_ptr<const Haystack> haystack;
  std::vector<std::string> data;  // files
  bool strict = false;            // a malformed record is an error, not skipped
  Order order = Order::own;
  Parameters parameters{"eval"};  // as the task's table declares them
};

struct TaskInfo {
  std::string name;
  std::string description;
  std::string protocol;  // what the cache holds when it is edited, and what comes after
  std::vector<Metric> metrics;
  bool sized = true;  // examples have the length asked for, else one of their own
  int examples = 0;   // number there is; 0: any
  /// The mean of the first metric that the exact cache must reach, else the model cannot do the task.
  double able = 0;
  std::vector<std::string> notes;  // for the report: records left out, and why
};

/// What an example is made from. Equal specs make equal examples.
struct ExampleSpec {
  int length = 1024;  // tokens read before the cache is edited; met within 2 %
  uint64_t seed = 0;
  int index = 0;  // index of the example

  Random random() const { return Random{seed, static_cast<uint64_t>(length), static_cast<uint64_t>(index)}; }
};

/// A question to an example's cache, on a fork of its own.
struct Question {
  std::string kind;           // "stale/unique": rows of the report, also for what stands before each '/'
  int cut = -1;               // tokens of the context that it follows; -1: all
  std::vector<Token> before;  // read before the cache is edited
  std::vector<Token> after;   // read after it is edited
  std::vector<Token> continuation;  // forced then; if empty, an answer is generated
  /// Answers of which the likeliest is chosen; if there are any, one is generated only to be `compared`.
  std::vector<std::vector<Token>> candidates;
  std::vector<std::string> names;     // names of the candidates
  std::vector<std::string> expected;  // right answers
  std::string wrong;                  // the answer that only the erased text gives
  int answer_tokens = 32;             // most tokens generated
  std::vector<std::string> stop = {"\n"};
  bool begins = false;    // the answer's first token is neither an end nor a line break alone
  bool compared = false;  // compared with the exact cache, token by token of its answer
};

struct Example {
  std::vector<Token> context;  // read before the cache is edited, the begin token included
  std::vector<Span> erased;    // spans of the context that an erase method erases
  std::vector<Question> questions;
};

/// A cache's answer to a question, beside that of the exact cache: a fresh prefill without what was erased,
/// unevicted.
struct Answer {
  std::string text;  // generated
  int chosen = -1;   // index of the candidate
  std::string exact_text;
  int exact_chosen = -1;
  bool same = false;      // equal to the exact cache's
  double kl = 0;          // nats, mean KL(exact || this) of next-token distributions over the forced tokens
  double perplexity = 0;  // of the continuation
};

/// Returns the value of a metric that a question does not have.
double no_score();

class Task {
 public:
  virtual ~Task() = default;
  virtual TaskInfo info() const = 0;
  /// Throws Error(out_of_range) for a length that it cannot make.
  virtual Example make(const Model& model, const ExampleSpec& spec) const = 0;
  /// Returns a value for each metric, or no_score().
  virtual std::vector<double> score(const Question& question, const Answer& answer) const = 0;
};

/// Whether a task reads files given by path.
enum class Data { none, optional, needed };

/// A line of the table of tasks.
struct TaskEntry {
  std::string name;
  std::string description;
  std::vector<Parameter> parameters;
  Data data = Data::none;
  bool erases = false;  // examples have a span to erase
  bool evicts = true;   // they make sense where nothing is erased
  std::vector<int> lengths = {1024};
  int quick_examples = 4;  // examples of --quick
  std::unique_ptr<Task> (*open)(const TaskOptions& options) = nullptr;
};

/// All tasks, in the order of their table.
const std::vector<TaskEntry>& tasks();
/// Finds a task by its name and parameters, "niah:needles=4,depths=10". Throws Error(not_found) with the
/// names there are.
const TaskEntry& find_task(std::string_view text);
/// Throws Error(invalid_argument, out_of_range) for parameters, Error(invalid_argument) for files that it
/// needs and does not get or the other way round, and what reading them throws.
std::unique_ptr<Task> open_task(std::string_view text, TaskOptions options);

/// Tokenises the text behind the model's begin token, if it has one.
std::vector<Token> tokens_from_start(const Model& model, std::string_view text);

/// Orders a question and the beginning of its answer.
Question ordered_question(const Model& model, Order order, std::string_view question,
                          std::string_view opening);
/// Writes "the context alone is read before ...", for TaskInfo::protocol.
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
