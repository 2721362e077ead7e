// Calls of sessions in steps, and many of them in one pass over the weights.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "kvedit/types.h"

namespace kvedit {

class Model;

/// A call of a session that advances in steps, made by Session::start_generate(), start_erase() and their
/// like. It begins with its first step and has its session from then on until it is done: other calls throw
/// Error(busy). It does what the call of that name does; callbacks come while step() waits, on a thread of
/// its own. Destroyed before it is done, it gives up as a cancelled call does. For one thread at a time.
class Work {
 public:
  ~Work();
  Work(Work&&) noexcept;
  Work& operator=(Work&&) noexcept;

  /// Goes on until a block of tokens, ModelOptions::block_tokens of them at most, has been forwarded. Returns
  /// whether there is more to do. An error ends the work; Task::finish() throws it.
  bool step();
  bool done() const;

  struct State;  // internal

 protected:
  explicit Work(std::shared_ptr<State> state);
  void run();  // to the end; throws the error that ended it

 private:
  friend class Batch;
  friend class Session;
  std::shared_ptr<State> state_;
};

/// Work that ends with a report.
template <typename Report>
class Task : public Work {
 public:
  /// Takes the steps that are left and returns the report, once. Throws what the call throws.
  Report finish() {
    run();
    return std::move(report_->value());
  }

 private:
  friend class Session;
  Task(Work work, std::shared_ptr<std::optional<Report>> report)
      : Work(std::move(work)), report_(std::move(report)) {}
  std::shared_ptr<std::optional<Report>> report_;
};

enum class Priority {
  normal,
  background,  // takes what the others leave of a block
};

struct BatchOptions {
  /// Tokens that go through the model together. Work that wants one token, as generation does, takes part in
  /// every block; the rest is shared evenly. A token comes the later the larger the block is.
  int block_tokens = 256;
};

/// What a step of a batch did.
struct BatchStep {
  int works = 0;   // that took part in the block
  int tokens = 0;  // of the block
  double ms = 0;
};

/// Steps of work on different sessions of one model, together: each reads the weights once for all. Rows are
/// computed as they are alone, but for the kernels that go by the number of tokens: see docs/design.md. For
/// one thread at a time.
class Batch {
 public:
  /// Throws Error(out_of_range) for a block of no tokens, or of more than 65,536.
  explicit Batch(std::shared_ptr<Model> model, const BatchOptions& options = {});
  ~Batch();
  Batch(Batch&&) noexcept;
  Batch& operator=(Batch&&) noexcept;

  /// Lets work take part until it is done or destroyed. Throws Error(invalid_argument) for work on another
  /// model's session, and for work that takes part already.
  void add(const Work& work, Priority priority = Priority::normal);
  /// Forwards one block. Returns whether there is more to do. Work that fails or is cancelled ends alone;
  /// where `cancel` is requested Error(cancelled) is thrown, and the block is made by the next step.
  bool step(const Cancel& cancel = {});
  /// Tells what the last step did.
  const BatchStep& last() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kvedit
