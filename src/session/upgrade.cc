// Upgrade: the exact cache is read in the background and takes the approximate one's place.
#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "context/windows.h"
#include "session/mentions.h"
#include "session/state.h"

namespace kvedit {

std::string_view to_string(UpgradeState state) {
  static constexpr std::array<std::string_view, 6> kNames = {"none", "running",   "ready",
                                                             "done", "cancelled", "failed"};
  return kNames.at(static_cast<size_t>(state));
}

void Session::State::publish() {
  undone.clear();
  follow();
  SessionStats now = stats_now();
  const std::scoped_lock lock(seen);
  last_stats = std::move(now);
}

void Session::State::publish_tokens() {
  undone.clear();
  follow();
  const std::scoped_lock lock(seen);
  last_stats.tokens = context.transcript.size();
  last_stats.next_position = context.transcript.next_position();
}

void Session::State::set_upgrade(std::shared_ptr<BackgroundPrefill> next, const UpgradeStatus& last) {
  const std::scoped_lock lock(seen);
  upgrade.swap(next);
  last_upgrade = last;
}

void Session::State::follow() {
  if (upgrade) upgrade->publish(context.transcript.tokens);
}

void Session::State::adopt_upgrade() {
  if (!upgrade || !upgrade->at_rest()) return;
  try {
    finish_upgrade();
  } catch (...) {  // upgrade_status() tells; the session goes on as it was
  }
}

// What the background read, and the last tokens on this thread.
void Session::State::finish_upgrade() {
  settle();
  UpgradeStatus status = upgrade->status();
  const Stopwatch watch;
  try {
    if (const std::exception_ptr error = upgrade->error()) std::rethrow_exception(error);
    BackgroundPrefill::Result exact = upgrade->take();
    Context edited = model->new_context();
    edited.cache = std::move(exact.cache);
    edited.transcript = context.transcript;
    edited.eviction = context.eviction;
    Transcript& t = edited.transcript;
    const auto common = static_cast<int>(
        std::mismatch(exact.tokens.begin(),
                      exact.tokens.begin() + std::min(exact.tokens.size(), t.tokens.size()), t.tokens.begin())
            .first -
        exact.tokens.begin());
    std::iota(t.positions.begin(), t.positions.end(), 0);
    t.steered.clear();
    edited.exact = common;
    edited = [&] {
      const ModelImpl::Lease engine(*model);
      Edit edit(std::move(edited), *engine, edit_options("upgrade", {}));
      edit.rebuild(common);
      status.tokens_caught_up = edit.tokens_forwarded();
      return std::move(edit).finish();
    }();
    if (context.evicted) evict_again(edited);
    hold_cap(edited, 0);
    check_limit(edited);
    status.mentions =
        mentions(model->tokenizer(), {model->tokenizer(), edited.transcript.tokens}, context.erased);
    context = std::move(edited);
    free_windows();
    status.state = UpgradeState::done;
    status.tokens_total = context.transcript.size();
    status.tokens_done = status.tokens_total;
  } catch (const std::exception& error) {
    status.state = UpgradeState::failed;
    status.error = error.what();
    set_upgrade(nullptr, status);
    throw;
  }
  status.swap_ms = watch.ms();
  status.ms += status.swap_ms;
  set_upgrade(nullptr, status);
  publish();
  model->page_pool()->trim();
}

std::shared_ptr<BackgroundPrefill> Session::State::begin_upgrade(const UpgradeOptions& upgrade_options,
                                                                 bool on_thread) {
  if (upgrade_options.block_tokens < 1) {
    fail(ErrorCode::invalid_argument, "upgrade", "blocks of ", upgrade_options.block_tokens,
         " tokens; at least 1");
  }
  if (upgrade_options.threads < 0 || upgrade_options.threads > kMaxThreads) {
    fail(ErrorCode::out_of_range, "upgrade", upgrade_options.threads, " threads asked for; 1 to ",
         kMaxThreads, ", or 0 for half the cores");
  }
  const Transcript& t = context.transcript;
  if (t.size() == 0) fail(ErrorCode::invalid_argument, "upgrade", "the session is empty");
  int exact = std::min(context.exact, t.size() - 1);
  if (!window_goes_on(context.cache, context.hparams(), exact)) exact = 0;
  Cache cache = exact > 0 ? context.cache.fork() : model->new_cache();
  if (exact > 0) cache.remove({exact, std::numeric_limits<Position>::max()});
  if (upgrade) upgrade->stop();
  set_upgrade(std::make_shared<BackgroundPrefill>(model, std::move(cache), exact, t.tokens,
                                                  frees_windows(context), upgrade_options),
              {});
  if (on_thread) upgrade->start_thread();
  return upgrade;
}

void Session::upgrade(const UpgradeOptions& options) {
  const Settled use(*state_);
  state_->begin_upgrade(options, true);
}

UpgradeStatus Session::upgrade_status() const {
  const std::scoped_lock lock(state_->seen);
  return state_->upgrade ? state_->upgrade->status() : state_->last_upgrade;
}

UpgradeStatus Session::finish_upgrade(const Progress& progress) {
  const Settled use(*state_);
  if (!state_->upgrade) fail(ErrorCode::not_found, "upgrade", "none was started");
  while (!state_->upgrade->at_rest()) {
    if (!state_->upgrade->on_thread())
      fail(ErrorCode::busy, "upgrade", "the exact cache is still being read in steps");
    state_->upgrade->wait_for(std::chrono::milliseconds(100));
    UpgradeStatus status = state_->upgrade->status();
    if (progress && !progress(status.tokens_done, status.tokens_total)) return status;
  }
  state_->finish_upgrade();
  return state_->last_upgrade;
}

void Session::cancel_upgrade() {
  const InUse use(*state_);
  if (!state_->upgrade) return;
  UpgradeStatus status = state_->upgrade->status();
  status.state = UpgradeState::cancelled;
  state_->upgrade->stop();
  state_->set_upgrade(nullptr, status);
  state_->model->page_pool()->trim();
}

}  // namespace kvedit
