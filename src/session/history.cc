// Edits become the session's context, and can be undone.
#include <algorithm>
#include <utility>

#include "session/state.h"

namespace kvedit {

void Session::State::replace(Context edited) {
  context = std::move(edited);
  free_windows();
  publish();
  model->page_pool()->trim();
}

void Session::State::commit(Context edited, std::string what) {
  if (options.undo_depth > 0) {
    history.push_back({std::move(what), std::move(context), edited.transcript.size()});
    while (static_cast<int>(history.size()) > options.undo_depth) history.pop_front();
  }
  replace(std::move(edited));
}

UndoReport Session::undo() {
  const Settled use(*state_);
  State& state = *state_;
  if (state.history.empty()) fail(ErrorCode::not_found, "session", "there is no edit to undo");
  State::Step step = std::move(state.history.back());
  state.history.pop_back();
  const int evictions = state.cap.evictions;
  try {
    state.hold_cap(step.before, 0);
  } catch (...) {
    state.history.push_back(std::move(step));
    throw;
  }
  const int now = state.context.transcript.size();
  const int then = step.before.transcript.size();
  UndoReport report{step.what, 0, 0};
  report.tokens_dropped = std::max(0, now - step.tokens_after);
  report.tokens_restored = then - step.tokens_after;
  if (state.cap.evictions == evictions) {
    state.undone.push_back({step.what, std::move(state.context), step.tokens_after});
  } else {
    state.undone.clear();  // it would pin what the cap freed
  }
  state.context = std::move(step.before);
  state.follow();
  state.model->page_pool()->trim();
  return report;
}

RedoReport Session::redo() {
  const Settled use(*state_);
  State& state = *state_;
  if (state.undone.empty())
    fail(ErrorCode::not_found, "session",
         "there is nothing to redo: nothing was undone, or the text changed since");
  State::Step step = std::move(state.undone.back());
  state.undone.pop_back();
  state.history.push_back(
      {step.what, std::exchange(state.context, std::move(step.before)), step.tokens_after});
  state.follow();
  state.model->page_pool()->trim();
  return {step.what, state.context.transcript.size()};
}

TruncateReport Session::truncate(int tokens) {
  const Settled use(*state_);
  const Stopwatch watch;
  const Context& context = state_->context;
  const int size = context.transcript.size();
  if (tokens < 1 || tokens > size) {
    fail(ErrorCode::out_of_range, "session", "the first ", tokens, " tokens of ", size,
         " cannot be kept; 1 to ", size, " can");
  }
  TruncateReport report;
  report.tokens_dropped = size - tokens;
  report.bytes_before = report.bytes_after = context.cache.bytes();
  if (tokens < size) {
    const ModelImpl::Lease engine(*state_->model);
    Edit edit(context.fork(), *engine, state_->edit_options("session", {}));
    edit.truncate(tokens);
    Context edited = std::move(edit).finish();
    state_->check_limit(edited);
    report.bytes_after = edited.cache.bytes();
    state_->commit(std::move(edited), "truncate");
  }
  report.ms = watch.ms();
  return report;
}

void Session::forget_history() {
  const InUse use(*state_);
  state_->forget_history();
  state_->model->page_pool()->trim();
}

}  // namespace kvedit
