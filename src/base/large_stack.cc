#include "base/large_stack.h"

#include <pthread.h>
#include <sys/mman.h>

#include <exception>

#include "tools/text.h"

namespace kvedit {
namespace {

constexpr size_t kGuardBytes = 1 << 16;

class Stack {
 public:
  explicit Stack(size_t bytes)
      : bytes_(bytes),
        memory_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0)) {
    if (memory_ == MAP_FAILED)
      fail(ErrorCode::no_memory, "tokenizer", "no room for a stack of ", bytes, " bytes");
    mprotect(memory_, kGuardBytes, PROT_NONE);  // it grows down
  }
  ~Stack() { munmap(memory_, bytes_); }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  void* lowest() const { return memory_; }

 private:
  size_t bytes_;
  void* memory_;
};

struct Work {
  const std::function<void()>& call;
  std::exception_ptr error;
};

void* work_on(void* argument) {
  auto& work = *static_cast<Work*>(argument);
  try {
    work.call();
  } catch (...) {
    work.error = std::current_exception();
  }
  return nullptr;
}

}  // namespace

void on_large_stack(size_t bytes, const std::function<void()>& call) {
  const Stack stack(bytes + kGuardBytes);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, stack.lowest(), bytes + kGuardBytes);
  Work work{call, nullptr};
  pthread_t thread{};
  const int error = pthread_create(&thread, &attributes, work_on, &work);
  pthread_attr_destroy(&attributes);
  if (error != 0) fail(ErrorCode::no_memory, "tokenizer", "the system gives no thread: error ", error);
  pthread_join(thread, nullptr);
  if (work.error) std::rethrow_exception(work.error);
}

}  // namespace kvedit
