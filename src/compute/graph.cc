#include "compute/graph.h"

#include <algorithm>

#include "compute/kernels/geglu.h"
#include "tools/text.h"

namespace kvedit {
namespace {

Graph::LayerNode& node(void* userdata) { return *static_cast<Graph::LayerNode*>(userdata); }

void write_op(ggml_tensor* dst, int ith, int nth, void* userdata) {
  node(userdata).pass->write(node(userdata).layer, dst->src[0], dst->src[1], dst->src[2], dst, ith, nth);
}

void attend_op(ggml_tensor* dst, int ith, int /*nth*/, void* userdata) {
  node(userdata).pass->attend(node(userdata).layer, dst->src[0], dst, ith);
}

void merge_op(ggml_tensor* dst, int ith, int nth, void* userdata) {
  node(userdata).pass->merge(node(userdata).layer, dst, ith, nth);
}

// Rows may stand apart, as a fused product's do.
void geglu_op(ggml_tensor* dst, int ith, int nth, void* /*userdata*/) {
  const auto at = [](const ggml_tensor* t, int64_t row, int64_t column) {
    return reinterpret_cast<float*>(static_cast<char*>(t->data) + row * t->nb[1]) + column;
  };
  const int64_t columns = dst->ne[0];
  const int64_t all = columns * dst->ne[1];
  const int64_t end = all * (ith + 1) / nth;
  for (int64_t i = all * ith / nth; i < end;) {
    const int64_t row = i / columns;
    const int64_t column = i % columns;
    const int64_t count = std::min(columns - column, end - i);
    geglu(at(dst->src[0], row, column), at(dst->src[1], row, column), at(dst, row, column), count);
    i += count;
  }
}

}  // namespace

Graph::Graph(Pass& pass, const GraphShape& shape, LinearKernel kernel)
    : pass_(pass), network_(*pass.network), shape_(shape), linear_(kernel, pass.scratch) {
  const size_t nodes = network_.hparams().layers * (40 + 35 * shape.adapted.size()) + 64;
  context_.reset(
      ggml_init({.mem_size = nodes * ggml_tensor_overhead() + ggml_graph_overhead_custom(nodes, false),
                 .mem_buffer = nullptr,
                 .no_alloc = true}));
  graph_ = ggml_new_graph_custom(context_.get(), nodes, false);
  build();
  allocator_.reset(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
  if (!ggml_gallocr_alloc_graph(allocator_.get(), graph_)) {
    fail(ErrorCode::no_memory, "compute", "no memory for the activations of a block of ", shape.tokens,
         " tokens");
  }
}

// y = W x for each projection of the same input; then, on the rows with an adapter, y += b (a x).
std::vector<ggml_tensor*> Graph::project(int layer, ggml_tensor* x,
                                         std::initializer_list<Projection> projections) {
  ggml_context* ctx = context_.get();
  std::vector<ggml_tensor*> weights;
  for (const Projection& p : projections) weights.push_back(network_.layers()[layer].*p.weight);
  std::vector<ggml_tensor*> results = linear_.project(ctx, x, weights);
  const auto rows = [&](ggml_tensor* t, const AdaptedRows& r) {
    return ggml_view_2d(ctx, t, t->ne[0], r.count, t->nb[1], r.row * t->nb[1]);
  };
  for (const AdaptedRows& adapted : shape_.adapted) {
    for (size_t i = 0; i < results.size(); i++) {
      const LowRank& update = adapted.lora->layers()[layer].*(projections.begin()[i].update);
      if (!update) continue;
      ggml_tensor* low = ggml_mul_mat(ctx, update.a, rows(x, adapted));
      ggml_tensor* high = ggml_mul_mat(ctx, update.b, low);
      // In place, and into the graph now: nodes that read y come later.
      ggml_build_forward_expand(graph_, ggml_add_inplace(ctx, rows(results[i], adapted), high));
    }
  }
  return results;
}

ggml_tensor* Graph::norm(ggml_tensor* x, ggml_tensor* weight) {
  return ggml_mul(context_.get(), ggml_rms_norm(context_.get(), x, network_.hparams().norm_epsilon), weight);
}

// x [d_model, tokens] -> [heads * value_dim, tokens], before the output projection.
ggml_tensor* Graph::attention(int layer, ggml_tensor* x, bool only_write) {
  ggml_context* ctx = context_.get();
  const Hparams& h = network_.hparams();
  const LayerWeights& w = network_.layers()[layer];
  LayerNode* userdata = &nodes_.emplace_back(LayerNode{&pass_, layer});
  std::vector<ggml_tensor*> qkv = project(layer, x,
                                          {{&LayerWeights::wq, &LoraLayer::wq},
                                           {&LayerWeights::wk, &LoraLayer::wk},
                                           {&LayerWeights::wv, &LoraLayer::wv}});
  ggml_tensor* const biases[] = {w.bq, w.bk, w.bv};
  for (int i = 0; i < 3; i++) {
    if (biases[i]) qkv[i] = ggml_add(ctx, qkv[i], biases[i]);
  }
  ggml_tensor* rotated =
      ggml_custom_4d(ctx, GGML_TYPE_F32, static_cast<int64_t>(h.heads) * h.key_dim, shape_.tokens, 1, 1,
                     qkv.data(), 3, write_op, GGML_N_TASKS_MAX, userdata);
  if (only_write) return rotated;
  const int64_t width = static_cast<int64_t>(h.heads) * h.value_dim;
  ggml_tensor* attended = ggml_custom_4d(ctx, GGML_TYPE_F32, width, shape_.tokens, 1, 1, &rotated, 1,
                                         attend_op, GGML_N_TASKS_MAX, userdata);
  if (!shape_.in_parts) return attended;
  return ggml_custom_4d(ctx, GGML_TYPE_F32, width, shape_.tokens, 1, 1, &attended, 1, merge_op,
                        GGML_N_TASKS_MAX, userdata);
}

ggml_tensor* Graph::feed_forward(int layer, ggml_tensor* x) {
  ggml_context* ctx = context_.get();
  std::vector<ggml_tensor*> gate_up =
      project(layer, x, {{&LayerWeights::gate, &LoraLayer::gate}, {&LayerWeights::up, &LoraLayer::up}});
  ggml_tensor* hidden = network_.hparams().activation == Activation::silu
                            ? ggml_swiglu_split(ctx, gate_up[0], gate_up[1])
                            : ggml_custom_4d(ctx, GGML_TYPE_F32, gate_up[0]->ne[0], gate_up[0]->ne[1], 1, 1,
                                             gate_up.data(), 2, geglu_op, GGML_N_TASKS_MAX, nullptr);
  return project(layer, hidden, {{&LayerWeights::down, &LoraLayer::down}})[0];
}

void Graph::build() {
  ggml_context* ctx = context_.get();
  const Hparams& h = network_.hparams();
  tokens = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, shape_.tokens);
  ggml_set_input(tokens);
  if (shape_.outputs > 0 && shape_.outputs < shape_.tokens) {
    outputs = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, shape_.outputs);
    ggml_set_input(outputs);
  }
  ggml_tensor* x = ggml_get_rows(ctx, network_.embedding(), tokens);
  if (h.embedding_scale != 1) x = ggml_scale(ctx, x, h.embedding_scale);
  // Only rows whose logits are wanted go through the last layer's feed-forward, unless all are needed.
  const bool fewer = shape_.outputs < shape_.tokens;
  const bool early_rows = fewer && !shape_.similarity && shape_.adapted.empty();
  for (int layer = 0; layer < h.layers; layer++) {
    const LayerWeights& w = network_.layers()[layer];
    const bool last = layer == h.layers - 1;
    const bool ends_here = last && shape_.outputs == 0 && !shape_.similarity;
    ggml_tensor* y = attention(layer, norm(x, w.attention_norm), ends_here && !shape_.mass);
    if (ends_here) {  // nothing after the last layer's keys and values, or its attention, is wanted
      ggml_set_output(y);
      ggml_build_forward_expand(graph_, y);
      return;
    }
    if (last && early_rows) {
      y = ggml_get_rows(ctx, y, outputs);
      x = ggml_get_rows(ctx, x, outputs);
    }
    y = project(layer, y, {{&LayerWeights::wo, &LoraLayer::wo}})[0];
    if (w.post_attention_norm) y = norm(y, w.post_attention_norm);
    if (shape_.similarity) {
      ggml_set_output(y);
      attention_outputs.push_back(y);
      ggml_build_forward_expand(graph_, y);
    }
    x = ggml_add(ctx, x, y);
    if (shape_.similarity) {
      ggml_set_output(x);
      after_attention.push_back(x);
    }
    y = feed_forward(layer, norm(x, w.ffn_norm));
    if (w.post_ffn_norm) y = norm(y, w.post_ffn_norm);
    x = ggml_add(ctx, x, y);
  }
  if (shape_.outputs == 0) {
    ggml_build_forward_expand(graph_, x);
    return;
  }
  if (fewer && !early_rows) x = ggml_get_rows(ctx, x, outputs);
  logits = linear_.project(ctx, norm(x, network_.output_norm()), network_.output());
  // Gemma: logits = cap tanh(logits / cap).
  if (const float cap = network_.hparams().logit_softcap; cap > 0) {
    logits = ggml_scale(ctx, ggml_tanh(ctx, ggml_scale(ctx, logits, 1 / cap)), cap);
  }
  ggml_set_output(logits);
  ggml_build_forward_expand(graph_, logits);
}

}  // namespace kvedit
