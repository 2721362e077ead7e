#include "compute/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "base/cpus.h"
#include "compute/graph.h"
#include "ggml-cpu.h"
#include "tools/text.h"

namespace kvedit {
namespace {

struct FreeThreadpool {
  void operator()(ggml_threadpool* pool) const { ggml_threadpool_free(pool); }
};

bool cancelled(void* stop) { return static_cast<const std::stop_token*>(stop)->stop_requested(); }

void make_room(Captures& captures, const Run& run, const Hparams& h) {
  const CaptureRequest& record = run.record;
  captures.tokens = std::min(record.window_queries, static_cast<int>(run.tokens.size()));
  captures.queries.assign(h.layers,
                          std::vector<float>(static_cast<size_t>(captures.tokens) * h.heads * h.key_dim));
  captures.similarities.assign(static_cast<size_t>(h.layers) * captures.tokens, 0.0F);
  captures.counted = 0;
  for (const Position position : run.positions) {
    captures.counted += record.query_statistics && position >= record.first_counted;
  }
  const int counted_layers = record.query_statistics ? h.layers : 0;
  captures.query_means.assign(counted_layers, std::vector<double>(static_cast<size_t>(h.heads) * h.key_dim));
  captures.query_moments.assign(counted_layers, std::vector<float>(h.heads * triangle(h.key_dim)));
  captures.mass.clear();
  for (int lane = 0; record.attention_mass && lane < h.layers * h.kv_heads; lane++) {
    captures.mass.emplace_back(run.cache->lane(lane / h.kv_heads, lane % h.kv_heads).size());
  }
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

  std::vector<std::vector<float>> forward(std::span<const Run> runs, const PassOptions& options);
  void compute(std::span<const Piece> pieces, const std::stop_token& stop,
               std::span<std::vector<float>> logits, std::span<const Run> runs);
  void capture_similarities(const Graph& graph);
  void take_logits(const Graph& graph, std::span<const Run> runs, std::span<std::vector<float>> logits) const;
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

Engine::~Engine() = default;

const Network& Engine::network() const { return *state_->network; }
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

void Engine::State::compute(std::span<const Piece> pieces, const std::stop_token& stop,
                            std::span<std::vector<float>> logits, std::span<const Run> runs) {
  pass.plan(pieces, threads);
  std::vector<int32_t> rows;  // of the block, whose logits are wanted
  bool similarity = false, mass = false;
  for (const Piece& piece : pieces) {
    if (piece.run->captures) {
      similarity |= piece.run->record.similarity;
      mass |= piece.run->record.attention_mass;
    }
    const auto end = static_cast<int>(piece.run->tokens.size());
    for (int t = piece.first; t < piece.first + piece.count; t++) {
      const bool wanted =
          piece.run->logits == Logits::all || (piece.run->logits == Logits::last && t == end - 1);
      if (wanted) rows.push_back(piece.row + t - piece.first);
    }
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
  if (stop.stop_possible()) {
    plan.abort_callback = cancelled;
    plan.abort_callback_data = const_cast<std::stop_token*>(&stop);
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
  if (pass.any_cut.exchange(false)) runs[0].cache->pool()->warn_of_cut();
  if (similarity) capture_similarities(graph);
  take_logits(graph, runs, logits);
}

// Adds the block's rows of logits to those of their runs.
void Engine::State::take_logits(const Graph& graph, std::span<const Run> runs,
                                std::span<std::vector<float>> logits) const {
  const auto* row = graph.logits ? static_cast<const float*>(graph.logits->data) : nullptr;
  const size_t vocabulary = network->hparams().vocabulary;
  for (const Piece& piece : pass.pieces) {
    std::vector<float>& to = logits[piece.run - runs.data()];
    const auto end = static_cast<int>(piece.run->tokens.size());
    const bool has_last = piece.first + piece.count == end;
    const int count = piece.run->logits == Logits::all                ? piece.count
                      : piece.run->logits == Logits::last && has_last ? 1
                                                                      : 0;
    to.insert(to.end(), row, row + count * vocabulary);
    row += count * vocabulary;
  }
}

std::vector<std::vector<float>> Engine::forward(std::span<const Run> runs, const PassOptions& options) try {
  return state_->forward(runs, options);
} catch (const std::bad_alloc&) {
  fail(ErrorCode::no_memory, "compute", "the system has no memory for a pass in blocks of ",
       state_->block_tokens, " tokens");
}

std::vector<std::vector<float>> Engine::State::forward(std::span<const Run> runs,
                                                       const PassOptions& options) {
  const Hparams& h = network->hparams();
  network->check_file();
  size_t total = 0;
  for (const Run& run : runs) {
    for (const Token token : run.tokens) {
      if (token < 0 || token >= h.vocabulary) {
        fail(ErrorCode::out_of_range, "compute", "token ", token, " is outside the vocabulary of ",
             h.vocabulary);
      }
    }
    if (run.adapter && run.adapter->network_fingerprint() != network->fingerprint()) {
      fail(ErrorCode::invalid_argument, "compute", "the adapter ", run.adapter->info().path,
           " was loaded for another model");
    }
    total += run.tokens.size();
    if (run.captures) make_room(*run.captures, run, h);
  }
  std::vector<std::vector<float>> logits(runs.size());
  std::vector<Piece> block;
  int in_block = 0;
  size_t done = 0;
  const auto flush = [&] {
    if (block.empty()) return;
    compute(block, options.stop, logits, runs);
    done += in_block;
    block.clear();
    in_block = 0;
    if (options.progress && !options.progress(done, total)) {
      fail(ErrorCode::cancelled, "compute", "cancelled after ", done, " of ", total, " tokens");
    }
  };
  for (const Run& run : runs) {
    const auto size = static_cast<int>(run.tokens.size());
    for (int first = 0; first < size;) {
      const int count = std::min(size - first, block_tokens - in_block);
      block.push_back({&run, first, count, in_block});
      first += count;
      in_block += count;
      if (in_block == block_tokens) flush();
    }
  }
  flush();
  return logits;
}

}  // namespace kvedit
