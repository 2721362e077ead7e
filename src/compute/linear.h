// Projections: Y = X W^T for one or several weights that share their input. Four ways:
//   few tokens   dot kernels on the quantised rows, the input quantised once, one node
//   some tokens  panels of 64 rows, unpacked and multiplied in integers
//   many tokens  panels of 64 rows: dequantised, then a dense product (oneDNN, f32 or bf16), or in integers
//   ggml         ggml's own matrix product, for reference
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compute/kernels/gemm.h"
#include "kvedit/types.h"

struct ggml_context;
struct ggml_tensor;

namespace kvedit {

/// Returns the kernel that LinearKernel::automatic means on this machine.
LinearKernel resolve(LinearKernel kernel);

/// Adds projection nodes to a graph; owns what the nodes point to, so it lives as long as the graph.
class Linear {
 public:
  /// `scratch` has scratch_bytes() for each thread whenever the graph runs.
  Linear(LinearKernel kernel, const Scratch& scratch) : kernel_(resolve(kernel)), scratch_(scratch) {}

  /// x [in, tokens] f32; weights [in, out_i]. Returns y_i [out_i, tokens], views of one tensor.
  std::vector<ggml_tensor*> project(ggml_context* ctx, ggml_tensor* x, std::span<ggml_tensor* const> weights);
  ggml_tensor* project(ggml_context* ctx, ggml_tensor* x, ggml_tensor* weight) {
    return project(ctx, x, std::span(&weight, 1))[0];
  }

  size_t scratch_bytes() const { return scratch_bytes_; }  // a thread, of the nodes added so far
  /// Begins a computation of the graph.
  void reset();
  /// Tells after a computation whether a product failed (out of memory in oneDNN).
  bool failed() const { return failed_; }

  /// One node; public for its callbacks.
  struct Op {
    Linear* linear = nullptr;
    struct Panel {
      const ggml_tensor* weight;
      int row;                           // first row of the weight
      int rows;                          // at most kPanelRows
      int out;                           // first column of Y
      std::shared_ptr<const Gemm> gemm;  // null: in integers
    };
    std::vector<Panel> panels;  // many tokens only
    std::atomic<int> next{0};
  };

 private:
  friend void few_op(ggml_tensor*, int, int, void*);
  friend void dense_op(ggml_tensor*, int, int, void*);
  /// Cuts w's rows into panels of y's columns from `out` on: dense products of a type, or in integers.
  void add_panels(Op& op, const ggml_tensor* w, std::optional<GemmType> type, const ggml_tensor* y, int out);

  LinearKernel kernel_;
  const Scratch& scratch_;
  size_t scratch_bytes_ = 0;
  std::deque<Op> ops_;
  std::atomic<bool> failed_{false};
};

}  // namespace kvedit
