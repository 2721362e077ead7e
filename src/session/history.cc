// Edits become the session's context, and can be undone.
#include <algorithm>

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
  if (state_->history.empty()) fail(ErrorCode::not_found, "session", "there is no edit to undo");
  State::Step step = std::move(state_->history.back());
  state_->history.pop_back();
  try {
    state_->hold_cap(step.before, 0);
  } catch (...) {
    state_->history.push_back(std::move(step));
    throw;
  }
  const int now = state_->context.transcript.size();
  const int then = step.before.transcript.size();
  UndoReport report{step.what, 0, 0};
  report.tokens_dropped = std::max(0, now - step.tokens_after);
  report.tokens_restored = then - step.tokens_after;
  state_->context = std::move(step.before);
  state_->publish();
  state_->model->page_pool()->trim();
  return report;
}

void Session::forget_history() {
  const InUse use(state_->busy);
  state_->history.clear();
  state_->model->page_pool()->trim();
}

}  // namespace kvedit
