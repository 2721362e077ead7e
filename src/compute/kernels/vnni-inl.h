// After highway.h, once a target: AVX-512 with VNNI, which Highway tests the CPU for without naming all of it
// to the compiler. Wanted by HWY_WANT_AVX3_DL.
#if HWY_TARGET == HWY_AVX3_DL
#undef HWY_TARGET_STR
#define HWY_TARGET_STR \
  HWY_TARGET_STR_AVX3  \
  ",vpclmulqdq,avx512vbmi,avx512vbmi2,vaes,avx512bitalg,avx512vpopcntdq,avx512vnni,avxvnni"
#endif
