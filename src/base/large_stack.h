// Calls of other libraries whose recursion is as deep as their input is long (std::regex in libllama's
// pre-tokenizers).
#pragma once

#include <cstddef>
#include <functional>

namespace kvedit {

/// Runs `call` on a thread of its own whose stack has `bytes`, of which only what is used takes memory. What
/// it throws is thrown here. Throws Error(no_memory) where the system has no room for the stack.
void on_large_stack(size_t bytes, const std::function<void()>& call);

}  // namespace kvedit
