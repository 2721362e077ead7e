// A function that can stand still in the middle of anything that it calls.
#pragma once

#include <exception>
#include <functional>
#include <semaphore>
#include <thread>

namespace kvedit {

/// Runs a function on a thread of its own, but only while resume() waits for it, so that there is never more
/// than one of the two at work. Chosen over stackless coroutines, which every function in between would have
/// to be, and over switching stacks, which sanitizers do not follow.
class Coroutine {
 public:
  explicit Coroutine(std::function<void()> body);
  /// The body must have ended, or never have begun.
  ~Coroutine();
  Coroutine(const Coroutine&) = delete;
  Coroutine& operator=(const Coroutine&) = delete;

  /// Runs the body until it pauses or ends; returns whether it has ended. Throws Error(no_memory) where the
  /// system has no thread for it, and then nothing has run.
  bool resume();
  bool begun() const { return thread_.joinable(); }
  bool ended() const { return ended_; }
  /// Throws what the body threw.
  void rethrow() const;

  /// Called by the body: lets resume() return, and waits for the next.
  void pause();

 private:
  void run();

  std::function<void()> body_;
  std::binary_semaphore to_body_{0}, to_caller_{0};
  bool ended_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace kvedit
