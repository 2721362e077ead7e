#include "compute/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "base/cancel.h"
#include "base/cpus.h"
#include "compute/forwarding.h"
#include "compute/graph.h"
#include "ggml-cpu.h"
#include "tools/text.h"

namespace kvedit {
namespace {

struct FreeThreadpool {
  void operator()(ggml_threadpool* pool) const { ggml_threadpool_free(pool); }
};

[[noreturn]] void fail_memory(int block_tokens) {
  fail(ErrorCode::no_memory, "compute", "the system has no memory for a pass in blocks of ", block_tokens,
       " tokens");
}

bool cancelled(void* scopes) {
  for (const CancelScope* scope : *static_cast<const std::span<const CancelScope* const>*>(scopes)) {
    if (scope && scope->requested()) return true;
  }
  return false;
}

}  // namespace

struct Engine::State {
  std::shared_ptr<const Network> network;
  int threads;
  LinearKernel linear;
  int block_tokens;
  std::unique_ptr<ggml_threadpool, FreeThreadpool> workers;
  Pass pass;
  std::unique_ptr<Graph> prefill;  // the last shape of many tokens
  std::unique_ptr<Graph> decode;   // the last shape of one token
  std::vector<uint8_t> work;

  Graph& graph_of(const GraphShape& shape) {
    std::unique_ptr<Graph>& graph = shape.tokens == 1 ? decode : prefill;
    if (!graph || graph->shape() != shape) {
      graph.reset();  // its buffer first
      graph = std::make_unique<Graph>(pass, shape, linear);
    }
    return *graph;
  }

  Relay relay;  // forwards in this engine's place

  void forward_block(std::span<const Share> shares, std::span<const CancelScope* const> scopes);
  Graph& compute(std::span<const Piece> pieces, std::span<const CancelScope* const> scopes);
  void capture_similarities(const Graph& graph);
};

Engine::Engine(std::shared_ptr<const Network> network, int threads, LinearKernel linear, int block_tokens)
    : state_(std::make_unique<State>()) {
  ggml_cpu_init();
  state_->network = std::move(network);
  state_->pass.network = state_->network.get();
  state_->threads = threads > 0 ? threads : usable_cpus();
  state_->linear = resolve(linear);
  state_->pass.integers = state_->linear != LinearKernel::f32;
  state_->block_tokens = std::max(1, block_tokens);
  // For one thread, too: without, ggml makes a pool for each pass.
  ggml_threadpool_params params = ggml_threadpool_params_default(state_->threads);
  state_->workers.reset(ggml_threadpool_new(&params));
}

Engine::Engine(std::shared_ptr<const Network> network, int block_tokens, Relay relay)
    : state_(std::make_unique<State>()) {
  state_->network = std::move(network);
  state_->block_tokens = block_tokens;
  state_->relay = std::move(relay);
}

Engine::~Engine() = default;

const Network& Engine::network() const { return *state_->network; }
bool Engine::relays() const { return static_cast<bool>(state_->relay); }
int Engine::block_tokens() const { return state_->block_tokens; }

void Engine::State::capture_similarities(const Graph& graph) {
  const Hparams& h = network->hparams();
  for (const Piece& piece : pass.pieces) {
    Captures* captures = piece.run->captures;
    if (!captures || !piece.run->record.similarity) continue;
    for (int t = 0; t < piece.count; t++) {
      const int index = piece.first + t - (static_cast<int>(piece.run->tokens.size()) - captures->tokens);
      if (index < 0) continue;
      for (int layer = 0; layer < h.layers; layer++) {
        const size_t row = static_cast<size_t>(piece.row + t) * h.d_model;
        const auto* y = static_cast<const float*>(graph.attention_outputs[layer]->data) + row;
        const auto* after = static_cast<const float*>(graph.after_attention[layer]->data) + row;
        double of_before = 0, of_after = 0, product = 0;
        for (int i = 0; i < h.d_model; i++) {
          const double before = static_cast<double>(after[i]) - y[i];
          of_before += before * before;
          of_after += static_cast<double>(after[i]) * after[i];
          product += before * after[i];
        }
        const size_t at = static_cast<size_t>(layer) * captures->tokens + index;
        const double both = std::sqrt(of_before * of_after);
        captures->similarities[at] = both > 0 ? static_cast<float>(product / both) : 0.0F;
      }
    }
  }
}

// Returns the graph that holds the block's logits.
Graph& Engine::State::compute(std::span<const Piece> pieces, std::span<const CancelScope* const> scopes) {
  pass.plan(pieces, threads);
  std::vector<int32_t> rows;  // of the block, whose logits are wanted
  bool similarity = false, mass = false;
  for (const Piece& piece : pieces) {
    if (piece.run->captures) {
      similarity |= piece.run->record.similarity;
      mass |= piece.run->record.attention_mass;
    }
    const auto wanted = static_cast<int>(wanted_rows(piece));  // the piece's last ones
    for (int t = piece.count - wanted; t < piece.count; t++) rows.push_back(piece.row + t);
  }
  std::vector<AdaptedRows> adapted;
  for (const Piece& piece : pieces) {
    if (piece.run->adapter) adapted.push_back({piece.run->adapter, piece.row, piece.count});
  }
  Graph& graph = graph_of(
      {pass.tokens, static_cast<int>(rows.size()), pass.in_parts, similarity, mass, std::move(adapted)});
  auto* tokens = static_cast<int32_t*>(graph.tokens->data);
  for (const Piece& piece : pieces) {
    std::copy_n(piece.run->tokens.data() + piece.first, piece.count, tokens + piece.row);
  }
  if (graph.outputs) std::memcpy(graph.outputs->data, rows.data(), rows.size() * sizeof(int32_t));

  ggml_cplan plan = ggml_graph_plan(graph.ggml(), threads, workers.get());
  if (work.size() < plan.work_size) work.resize(plan.work_size);
  pass.scratch.reserve(threads, std::max(pass.scratch_bytes(), graph.linear().scratch_bytes()));
  plan.work_data = work.data();
  if (!scopes.empty()) {
    plan.abort_callback = cancelled;
    plan.abort_callback_data = &scopes;
  }
  graph.linear().reset();
  const ggml_status status = ggml_graph_compute(graph.ggml(), &plan);
  if (status == GGML_STATUS_ABORTED) fail(ErrorCode::cancelled, "compute", "the pass was cancelled");
  if (status != GGML_STATUS_SUCCESS) {
    fail(ErrorCode::no_memory, "compute", "the pass failed: ", ggml_status_to_string(status));
  }
  if (graph.linear().failed()) {
    fail(ErrorCode::no_memory, "compute", "oneDNN found no memory for a product of ", pass.tokens, " tokens");
  }
  if (pass.any_cut.exchange(false)) pieces[0].run->cache->pool()->warn_of_cut();
  if (similarity) capture_similarities(graph);
  return graph;
}

void Engine::State::forward_block(std::span<const Share> shares, std::span<const CancelScope* const> scopes) {
  network->check_file();
  std::vector<Piece> block;
  std::vector<size_t> ends;  // of each share's pieces
  int row = 0;
  for (const auto& [forwarding, tokens] : shares) {
    forwarding->next(tokens, row, block);
    row += static_cast<int>(tokens);
    ends.push_back(block.size());
  }
  if (block.empty()) return;
  const Graph& graph = compute(block, scopes);
  const auto* logits = graph.logits ? static_cast<const float*>(graph.logits->data) : nullptr;
  const size_t vocabulary = network->hparams().vocabulary;
  size_t piece = 0;
  for (size_t i = 0; i < shares.size(); i++) {
    for (; piece < ends[i]; piece++)
      logits += shares[i].forwarding->take(block[piece], logits, vocabulary) * vocabulary;
  }
  for (const Share& share : shares) share.forwarding->advance(share.tokens);
}

void Engine::forward_block(std::span<const Share> shares, std::span<const CancelScope* const> scopes) try {
  state_->forward_block(shares, scopes);
} catch (const std::bad_alloc&) {
  fail_memory(state_->block_tokens);
}

std::vector<std::vector<float>> Engine::forward(std::span<const Run> runs, const Progress& progress) try {
  Forwarding forwarding(*state_->network, runs);
  const CancelScope* const scope = CancelScope::current();
  const std::span<const CancelScope* const> scopes(&scope, scope ? 1 : 0);
  while (forwarding.left() > 0) {
    if (state_->relay) {
      state_->relay(forwarding);
    } else {
      const size_t tokens = std::min<size_t>(forwarding.left(), state_->block_tokens);
      const Share share{&forwarding, tokens};
      forward_block({&share, 1}, scopes);
    }
    if (progress && !progress(forwarding.done(), forwarding.total())) {
      fail(ErrorCode::cancelled, "compute", "cancelled after ", forwarding.done(), " of ", forwarding.total(),
           " tokens");
    }
    check_cancel("compute");
  }
  return std::move(forwarding).logits();
} catch (const std::bad_alloc&) {
  fail_memory(state_->block_tokens);
}

}  // namespace kvedit
