# Sanitizers and libFuzzer for our own code; ggml and libllama stay as they were built (scripts/deps
# --tsan builds a ggml whose threads ThreadSanitizer sees).
if(KVEDIT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "KVEDIT_FUZZ needs clang: -DCMAKE_CXX_COMPILER=clang++")
  endif()
  if(NOT KVEDIT_SANITIZE)
    set(KVEDIT_SANITIZE address,undefined)
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

if(KVEDIT_SANITIZE)
  # Instrumented kernels take up to a minute an instruction set to compile.
  add_compile_definitions("HWY_DISABLED_TARGETS=(HWY_SSE4|HWY_AVX3)")
  add_compile_definitions(KVEDIT_SANITIZED)
  add_compile_options(-fsanitize=${KVEDIT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${KVEDIT_SANITIZE})
endif()
