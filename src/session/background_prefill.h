// Reads a transcript exactly, on a thread of its own or in steps, following it as it grows or is edited.
#pragma once

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "kvedit/erase.h"
#include "session/model_impl.h"
#include "tools/stopwatch.h"

namespace kvedit {

class BackgroundPrefill {
 public:
  /// Nothing is read before start_thread() or read(). exact: a cache with the exact entries of the first
  /// `done` of `tokens`, at positions from 0.
  BackgroundPrefill(std::shared_ptr<ModelImpl> model, Cache exact, int done, std::span<const Token> tokens,
                    bool free_windows, const UpgradeOptions& options);
  /// Reads on a thread of its own, with an engine of its own.
  void start_thread();
  bool on_thread() const { return thread_.joinable(); }
  /// Reads on this thread until less than a block is missing. Throws Error(cancelled) after stop().
  void read(Engine& engine);
  /// Ends the reading between two nodes of the graph; a thread has ended then.
  void stop();
  /// Stops.
  ~BackgroundPrefill();
  BackgroundPrefill(const BackgroundPrefill&) = delete;
  BackgroundPrefill& operator=(const BackgroundPrefill&) = delete;

  /// Sets the transcript as it is now.
  void publish(std::span<const Token> tokens);
  /// Tells how far it is: running, ready (less than a block is missing, and none is being read) or failed.
  UpgradeStatus status() const;
  bool at_rest() const { return status().state != UpgradeState::running; }
  /// Waits until it is at rest, or the time is over.
  void wait_for(std::chrono::milliseconds time);
  std::exception_ptr error() const;

  /// Stops it and hands over its work: a cache, and the tokens it has entries for.
  struct Result {
    Cache cache;
    std::vector<Token> tokens;
  };
  Result take();

 private:
  void run();
  /// Reads a block. Returns false where less than one is missing, after waiting for more if asked to.
  bool read_block(Engine& engine, bool wait);
  int missing_locked() const;
  void go_back(int common);
  void forward_block(Engine& engine, std::span<const Token> block);

  std::shared_ptr<ModelImpl> model_;
  bool free_windows_;
  UpgradeOptions options_;
  Stopwatch watch_;
  Cache cache_;              // the thread's
  std::vector<Token> done_;  // the thread's to change; read under the mutex

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Token> target_;
  int read_ = 0;
  bool in_block_ = false;
  std::exception_ptr error_;
  std::stop_source stop_;
  std::thread thread_;
};

}  // namespace kvedit
