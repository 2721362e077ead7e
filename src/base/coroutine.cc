#include "base/coroutine.h"

#include <system_error>
#include <utility>

#include "tools/text.h"

namespace kvedit {

Coroutine::Coroutine(std::function<void()> body) : body_(std::move(body)) {}

Coroutine::~Coroutine() {
  if (thread_.joinable()) thread_.join();
}

void Coroutine::run() {
  to_body_.acquire();
  try {
    body_();
  } catch (...) {
    error_ = std::current_exception();
  }
  body_ = {};  // what it holds goes with it
  ended_ = true;
  to_caller_.release();
}

bool Coroutine::resume() {
  if (ended_) return true;
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this] { run(); });
    } catch (const std::system_error& error) {
      fail(ErrorCode::no_memory, "session", "the system has no thread for work in steps: ", error.what());
    }
  }
  to_body_.release();
  to_caller_.acquire();
  return ended_;
}

void Coroutine::rethrow() const {
  if (error_) std::rethrow_exception(error_);
}

void Coroutine::pause() {
  to_caller_.release();
  to_body_.acquire();
}

}  // namespace kvedit
