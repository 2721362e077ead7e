# What the library stands on. scripts/deps installs or builds all of it and prints the
# CMAKE_PREFIX_PATH of ggml and libllama.
find_package(Threads REQUIRED)

# What an earlier run found under another prefix is looked for again.
if(NOT KVEDIT_FOUND_UNDER STREQUAL CMAKE_PREFIX_PATH)
  foreach(found llama_DIR llama_LIBRARY ggml_DIR GGML_LIBRARY GGML_BASE_LIBRARY GGML_CPU_LIBRARY)
    unset(${found} CACHE)
  endforeach()
  set(KVEDIT_FOUND_UNDER "${CMAKE_PREFIX_PATH}" CACHE INTERNAL "CMAKE_PREFIX_PATH of the last run")
endif()
find_package(ggml REQUIRED)
find_package(llama REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(hwy REQUIRED IMPORTED_TARGET libhwy>=1.0.3)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash>=0.8)

# oneDNN, and the OpenMP that it uses, whose team size we set (src/compute/kernels/gemm.cc); gcc keeps it in a
# folder of its own.
find_path(DNNL_INCLUDE_DIR dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
find_library(GOMP_LIBRARY NAMES gomp libgomp.so.1 HINTS ${CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES} REQUIRED)
add_library(kvedit_dnnl INTERFACE)
target_include_directories(kvedit_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(kvedit_dnnl INTERFACE ${DNNL_LIBRARY} ${GOMP_LIBRARY})
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_include_directories(kvedit_dnnl INTERFACE ${CMAKE_CURRENT_LIST_DIR}/gomp)
endif()

# The trainer's: Debian's libtorch-dev (with libopenblas-dev), or any libtorch to 2.x, CUDA's too.
if(KVEDIT_TRAIN)
  # None of our code is compiled for a GPU; a Torch with CUDA lists architectures that this CMake may not know.
  if(NOT DEFINED TORCH_CUDA_ARCH_LIST)
    set(TORCH_CUDA_ARCH_LIST 9.0)
  endif()
  find_package(Torch REQUIRED)
endif()

# Unicode, for finding text loosely and for the scores of the evaluation.
pkg_check_modules(icu REQUIRED IMPORTED_TARGET icu-uc>=70)
