// What stands behind kvedit::Work: a call on a coroutine, which pauses wherever it wants tokens forwarded.
#pragma once

#include <exception>
#include <functional>
#include <memory>

#include "base/cancel.h"
#include "base/coroutine.h"
#include "compute/forwarding.h"
#include "kvedit/work.h"
#include "session/model_impl.h"

namespace kvedit {

struct Work::State {
  State(std::shared_ptr<ModelImpl> m, std::function<void()> call);
  /// Gives up what is not done.
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /// Goes on until tokens are to be forwarded, it pauses for others, or it is done.
  void advance();
  bool done() const { return coroutine.ended(); }

  /// Called by the work: waits until some of the tokens have been forwarded.
  void wait_for(Forwarding& forwarding);
  /// Called by the work in the middle of what needs no pass: lets others have a turn.
  void pause();

  std::shared_ptr<ModelImpl> model;
  Forwarding* waiting = nullptr;        // what is to be forwarded next
  const CancelScope* cancel = nullptr;  // of the work's thread, while it waits
  std::exception_ptr failed;            // the pass that it waited for
  bool given_up = false;
  bool in_batch = false;
  Coroutine coroutine;
};

/// Returns the work whose call runs on this thread, or null.
Work::State* current_work();

/// Lets others have a turn, where this thread does work in steps.
void pause_work();

}  // namespace kvedit
