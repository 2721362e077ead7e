// Projections: Y = X W^T for one or several weights that share their input. Four ways:
//   few tokens   dot kernels on the quantised rows, the input quantised once, one node
//   some tokens  panels of 64 rows, unpacked and multiplied in integers
//   many tokens  panels of 64 rows: dequantised, then a dense product (oneDNN, f32 or bf16), or in integers
//   ggml         ggml's own matrix product, for reference
#pragma once

#include <atomic>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "compute/gemm.h"
#include "kvedit/model.h"

struct ggml_context;
struct ggml_tensor;

namespace kvedit {

/// What LinearKernel::automatic means on this machine.
LinearKernel resolve(LinearKernel kernel);

/// Adds projection nodes to a graph; owns what the nodes point to, so it lives as long as the graph.
class Linear {
 public:
  explicit Linear(LinearKernel kernel) : kernel_(resolve(kernel)) {}

  /// x [in, tokens] f32; weights [in, out_i]. Returns y_i [out_i, tokens], views of one tensor.
  std::vector<ggml_tensor*> project(ggml_context* ctx, ggml_tensor* x, std::span<ggml_tensor* const> weights);
  ggml_tensor* project(ggml_context* ctx, ggml_tensor* x, ggml_tensor* weight) {
    return project(ctx, x, std::span(&weight, 1))[0];
  }

  /// Before each computation of the graph.
  void reset();
  /// After it: whether a product failed (out of memory in oneDNN).
  bool failed() const { return failed_; }

  /// One node; public for its callbacks.
  struct Op {
    Linear* linear = nullptr;
    struct Panel {
      const ggml_tensor* weight;
      int row;           // first row of the weight
      int rows;          // at most kPanelRows
      int out;           // first column of Y
      const Gemm* gemm;  // null: in integers
    };
    std::vector<Panel> panels;  // many tokens only
    std::atomic<int> next{0};
  };

 private:
  LinearKernel kernel_;
  std::deque<Op> ops_;
  std::atomic<bool> failed_{false};
  friend void dense_op(ggml_tensor*, int, int, void*);
};

}  // namespace kvedit
