// Included in front of ggml's sources (scripts/deps). Its threads wait for each other by spinning on
// _mm_pause() and never give their core away: two threads on one core, or on a busy machine, then run a
// hundred times slower than one. Here a thread that has waited some microseconds lets others run.
#pragma once

#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>
#include <sched.h>

static inline void kvedit_wait(void) {
  static __thread unsigned waited;
  __builtin_ia32_pause();
  if (++waited % 64 == 0) sched_yield();
}
#undef _mm_pause
#define _mm_pause() kvedit_wait()
#endif
