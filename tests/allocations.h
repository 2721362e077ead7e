// What this test program's operator new counts, and what it can be told to refuse: allocations_test.cc. Not
// under sanitizers, whose own operators stay.
#pragma once

#include <atomic>
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KVEDIT_OWN_OPERATORS 0
#elif defined(__has_feature)  // clang's way to say it
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KVEDIT_OWN_OPERATORS 0
#endif
#endif
#ifndef KVEDIT_OWN_OPERATORS
#define KVEDIT_OWN_OPERATORS 1
#endif

namespace kvedit::allocations {

inline constexpr bool kCounted = KVEDIT_OWN_OPERATORS != 0;

inline std::atomic<size_t> live = 0;  // bytes
inline std::atomic<size_t> most = 0;  // of them, at any time

inline thread_local bool is_test_thread = false;
inline std::atomic<bool> watched = false;
// While watched:
inline std::atomic<int> until_failure = -1;  // allocations that succeed before one fails; -1: all do
inline std::atomic<int> on_workers = 0;      // allocations of other threads than the test's

}  // namespace kvedit::allocations
