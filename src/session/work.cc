// Work in steps: the blocking calls, which stand still where they want tokens forwarded.
#include <algorithm>

#include "session/state.h"
#include "session/work_state.h"

namespace kvedit {
namespace {

thread_local Work::State* current = nullptr;

}  // namespace

Work::State* current_work() { return current; }

void pause_work() {
  if (current) current->pause();
}

Work::State::State(std::shared_ptr<ModelImpl> m, std::function<void()> call)
    : model(std::move(m)), coroutine([this, call = std::move(call)] {
        current = this;
        call();
      }) {}

Work::State::~State() {
  given_up = true;
  while (coroutine.begun() && !coroutine.ended()) coroutine.resume();
}

void Work::State::advance() { coroutine.resume(); }

void Work::State::pause() {
  cancel = CancelScope::current();
  coroutine.pause();
  cancel = nullptr;
  if (given_up) fail(ErrorCode::cancelled, "session", "the work was given up");
}

void Work::State::wait_for(Forwarding& forwarding) {
  waiting = &forwarding;
  pause();
  waiting = nullptr;
  if (const std::exception_ptr error = std::exchange(failed, nullptr)) std::rethrow_exception(error);
}

Work::Work(std::shared_ptr<State> state) : state_(std::move(state)) {}
Work::~Work() = default;
Work::Work(Work&&) noexcept = default;
Work& Work::operator=(Work&&) noexcept = default;

bool Work::done() const { return state_->done(); }

bool Work::step() {
  State& work = *state_;
  if (work.done()) return false;
  if (work.in_batch) fail(ErrorCode::busy, "session", "this work goes on in the steps of its batch");
  if (!work.waiting) work.advance();
  if (work.waiting) {
    try {
      const ModelImpl::Lease engine(*work.model);
      const size_t tokens = std::min<size_t>(work.waiting->left(), engine->block_tokens());
      const Engine::Share share{work.waiting, tokens};
      engine->forward_block({&share, 1}, {&work.cancel, work.cancel ? 1U : 0U});
    } catch (...) {
      work.failed = std::current_exception();
    }
    work.advance();
  }
  return !work.done();
}

void Work::run() {
  while (step()) {
  }
  state_->coroutine.rethrow();
}

}  // namespace kvedit
