#include "session/background_prefill.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "base/cancel.h"
#include "base/cpus.h"
#include "context/windows.h"
#include "tools/text.h"

namespace kvedit {

BackgroundPrefill::BackgroundPrefill(std::shared_ptr<ModelImpl> model, Cache exact, int done,
                                     std::span<const Token> tokens, bool free_windows,
                                     const UpgradeOptions& options)
    : model_(std::move(model)),
      free_windows_(free_windows),
      options_(options),
      cache_(std::move(exact)),
      done_(tokens.begin(), tokens.begin() + done),
      target_(tokens.begin(), tokens.end()) {
  if (options_.threads <= 0) {
    options_.threads = std::max(1, usable_cpus() / 2);
  }
}

void BackgroundPrefill::start_thread() {
  thread_ = std::thread([this] { run(); });
}

BackgroundPrefill::~BackgroundPrefill() { stop(); }

void BackgroundPrefill::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stop_.request_stop();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void BackgroundPrefill::publish(std::span<const Token> tokens) {
  {
    const std::scoped_lock lock(mutex_);
    target_.assign(tokens.begin(), tokens.end());
  }
  changed_.notify_all();
}

// Tokens of the target without an entry, the pending one apart.
int BackgroundPrefill::missing_locked() const {
  const auto common =
      std::mismatch(done_.begin(), done_.begin() + std::min(done_.size(), target_.size()), target_.begin());
  return std::max(0, static_cast<int>(target_.size()) - 1 - static_cast<int>(common.first - done_.begin()));
}

UpgradeStatus BackgroundPrefill::status() const {
  const std::scoped_lock lock(mutex_);
  UpgradeStatus status;
  const int missing = missing_locked();
  status.state = error_                                          ? UpgradeState::failed
                 : !in_block_ && missing < options_.block_tokens ? UpgradeState::ready
                                                                 : UpgradeState::running;
  status.tokens_total = static_cast<int>(target_.size());
  status.tokens_done = std::max(0, status.tokens_total - 1 - missing);
  status.tokens_read = read_;
  status.ms = watch_.ms();
  return status;
}

std::exception_ptr BackgroundPrefill::error() const {
  const std::scoped_lock lock(mutex_);
  return error_;
}

void BackgroundPrefill::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time,
                    [&] { return error_ || (!in_block_ && missing_locked() < options_.block_tokens); });
}

// To the first `common` tokens, or to the start where windows that the next ones need were freed.
void BackgroundPrefill::go_back(int common) {
  if (!window_goes_on(cache_, model_->network().hparams(), common)) common = 0;
  cache_.remove({common, std::numeric_limits<Position>::max()});
  done_.resize(common);
}

void BackgroundPrefill::forward_block(Engine& engine, std::span<const Token> block) {
  std::vector<Position> positions(block.size());
  std::iota(positions.begin(), positions.end(), static_cast<Position>(done_.size()));
  Run run;
  run.cache = &cache_;
  run.tokens = block;
  run.positions = positions;
  try {
    read_tokens(engine, run, {.free_windows = free_windows_});
  } catch (...) {
    cache_.rollback(positions);
    throw;
  }
  const std::scoped_lock lock(mutex_);
  done_.insert(done_.end(), block.begin(), block.end());
  read_ += static_cast<int>(block.size());
}

bool BackgroundPrefill::read_block(Engine& engine, bool wait) {
  std::vector<Token> block;
  {
    std::unique_lock lock(mutex_);
    const auto enough = [&] { return stop_.stop_requested() || missing_locked() >= options_.block_tokens; };
    if (wait) changed_.wait(lock, enough);
    if (stop_.stop_requested() || !enough()) return false;
    const auto common = static_cast<int>(target_.size()) - 1 - missing_locked();
    if (common < static_cast<int>(done_.size())) go_back(common);  // it was edited
    const auto next = target_.begin() + static_cast<ptrdiff_t>(done_.size());
    block.assign(next, next + options_.block_tokens);
    in_block_ = true;
  }
  const CancelScope scope({.token = stop_.get_token()});
  try {
    forward_block(engine, block);
  } catch (...) {
    const std::scoped_lock lock(mutex_);
    in_block_ = false;
    if (!stop_.stop_requested()) error_ = std::current_exception();
    changed_.notify_all();
    throw;
  }
  const std::scoped_lock lock(mutex_);
  in_block_ = false;
  changed_.notify_all();
  return true;
}

void BackgroundPrefill::read(Engine& engine) {
  while (read_block(engine, false)) {
  }
  if (stop_.stop_requested()) fail(ErrorCode::cancelled, "upgrade", "cancelled, or started anew");
}

void BackgroundPrefill::run() {
  try {
    Engine engine(model_->shared_network(), options_.threads, model_->options().linear,
                  options_.block_tokens);
    while (read_block(engine, true)) {
    }
  } catch (...) {
    const std::scoped_lock lock(mutex_);
    if (!stop_.stop_requested()) error_ = std::current_exception();
  }
  changed_.notify_all();
}

BackgroundPrefill::Result BackgroundPrefill::take() {
  stop();
  const std::scoped_lock lock(mutex_);  // of status(), which others may ask for still
  return {std::move(cache_), std::exchange(done_, {})};
}

}  // namespace kvedit
