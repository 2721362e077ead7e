// For kernels with many sums in registers. Compiled once a target, as Highway's own -inl.h headers.
#include <hwy/highway.h>

#if defined(KVEDIT_REGISTERS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef KVEDIT_REGISTERS_INL_H
#undef KVEDIT_REGISTERS_INL_H
#else
#define KVEDIT_REGISTERS_INL_H
#endif

// Registers, not the plain C++ that Highway has for CPUs older than its vectors.
#undef KVEDIT_X86_VECTORS
#define KVEDIT_X86_VECTORS (HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128)

HWY_BEFORE_NAMESPACE();
namespace kvedit::HWY_NAMESPACE {

// v. Left to itself, gcc loads or multiplies for all rows of a tile before it adds, and spills the sums.
template <class Vector>
HWY_INLINE Vector in_order(Vector v) {
#if KVEDIT_X86_VECTORS
  asm("" : "+v"(v.raw));
#endif
  return v;
}

}  // namespace kvedit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // KVEDIT_REGISTERS_INL_H
