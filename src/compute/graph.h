// The transformer as a ggml graph, for a block of a given size. Built once a shape and reused: what
// changes between passes stands in the input tensors and in the Pass its operators point to.
#pragma once

#include <deque>
#include <memory>

#include "compute/linear.h"
#include "compute/pass.h"
#include "ggml-alloc.h"
#include "ggml-cpp.h"
#include "ggml.h"

namespace kvedit {

/// Rows [row, row + count) of a block that go through an adapter.
struct AdaptedRows {
  std::shared_ptr<const Lora> lora;
  int row = 0;
  int count = 0;
  bool operator==(const AdaptedRows&) const = default;
};

struct GraphShape {
  int tokens = 0;
  int outputs = 0;          // rows whose logits are wanted
  bool in_parts = false;    // attention has a merge node
  bool similarity = false;  // attention's inputs and outputs are kept for it
  bool mass = false;        // and its weights, of the last layer too
  std::vector<AdaptedRows> adapted = {};
  bool operator==(const GraphShape&) const = default;
};

class Graph {
 public:
  /// `pass` must outlive the graph. Throws Error(no_memory) when activations cannot be had.
  Graph(Pass& pass, const GraphShape& shape, LinearKernel kernel);

  const GraphShape& shape() const { return shape_; }
  ggml_cgraph* ggml() { return graph_; }
  Linear& linear() { return linear_; }
  size_t buffer_bytes() const { return ggml_gallocr_get_buffer_size(allocator_.get(), 0); }

  ggml_tensor* tokens = nullptr;                // in: [tokens] i32
  ggml_tensor* outputs = nullptr;               // in: [outputs] i32, rows of the block; null when none or all
  ggml_tensor* logits = nullptr;                // out: [vocabulary, outputs]; null when none
  std::vector<ggml_tensor*> attention_outputs;  // out: [layer] [d_model, tokens], with similarity
  std::vector<ggml_tensor*> after_attention;    // out: the same added to the hidden state

  /// One layer's operators, as their nodes see it.
  struct LayerNode {
    Pass* pass;
    int layer;
  };

 private:
  /// A projection's weight and its low-rank update.
  struct Projection {
    ggml_tensor* LayerWeights::*weight;
    LowRank LoraLayer::*update;
  };
  std::vector<ggml_tensor*> project(int layer, ggml_tensor* x, std::initializer_list<Projection> projections);
  ggml_tensor* norm(ggml_tensor* x, ggml_tensor* weight);
  ggml_tensor* attention(int layer, ggml_tensor* x, bool only_write);
  ggml_tensor* feed_forward(int layer, ggml_tensor* x);
  void build();

  Pass& pass_;
  const Network& network_;
  GraphShape shape_;
  Linear linear_;
  std::deque<LayerNode> nodes_;
  ggml_context_ptr context_;
  ggml_gallocr_ptr allocator_;
  ggml_cgraph* graph_ = nullptr;
};

}  // namespace kvedit
