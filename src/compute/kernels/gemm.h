// Dense products for prefill, through oneDNN: Y = X . W^T on panels of dequantised weights.
// A primitive is made on the calling thread, then run by any of our threads, one thread each.
#pragma once

#include <cstddef>
#include <memory>

#include "compute/kernels/scratch.h"

namespace kvedit {

enum class GemmType { f32, bf16 };

class Gemm {
 public:
  /// Makes a product of X [m][k] contiguous, W [n][k] contiguous, both of `type`; Y f32 [m][n] with rows
  /// y_stride apart. The last kKept shapes asked for are kept, since making one costs a compilation.
  /// Thread-safe. Throws Error(no_memory).
  static std::shared_ptr<const Gemm> get(GemmType type, int m, int n, int k, int y_stride);
  static constexpr size_t kKept = 64;

  Gemm(GemmType type, int m, int n, int k, int y_stride);
  ~Gemm();
  size_t scratch_bytes() const;
  /// Thread-safe. Never throws: returns false where oneDNN reports an error.
  bool run(const void* x, const void* w, float* y, Room scratch) const noexcept;

 private:
  struct Primitive;
  std::unique_ptr<Primitive> primitive_;
};

/// Tells whether this CPU multiplies bf16 in hardware (AVX512-BF16 or AMX), and f32 with AVX2 at least.
bool gemm_has_native(GemmType type);
/// Tells whether it multiplies bf16 in AMX tiles here.
bool gemm_uses_amx();

}  // namespace kvedit
