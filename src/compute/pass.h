// Input of the operators of one graph computation: the pieces of runs in this block, their rotation tables,
// and the division of attention over threads. Filled before the graph runs, constant while it runs.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "compute/engine.h"
#include "compute/kernels/attention.h"
#include "compute/kernels/scratch.h"

struct ggml_tensor;

namespace kvedit {

/// Tokens [first, first + count) of a run; they stand at [row, row + count) of the block.
struct Piece {
  const Run* run = nullptr;
  int first = 0;
  int count = 0;
  int row = 0;
  std::span<const Position> positions() const { return run->positions.subspan(first, count); }
};

/// A share of a layer's attention: some tokens of a piece, one KV head, some pages of its lane.
struct AttentionItem {
  const Piece* piece;
  int head;
  int first;  // token within the piece
  int count;
  std::span<const PageRef> pages;
  int part;      // index into the parts, or -1: the whole lane, written straight to the output
  int turn = 0;  // whole lanes: how many items of the lane come before it
};

struct LayerPass {
  std::vector<AttentionItem> items;
  std::vector<int> first_item;  // [piece * kv_heads + head] into items, one more at the end; parts only
  std::atomic<int> next{0};
  // [piece * kv_heads + head] items whose attention mass has been summed; they take turns, so that the sum
  // does not differ from run to run. Null when no mass is asked for.
  std::unique_ptr<std::atomic<int>[]> summed;
};

struct Pass {
  const Network* network = nullptr;
  std::vector<Piece> pieces;
  int tokens = 0;
  bool in_parts = false;  // few tokens: lanes are cut so that all threads have work
  bool mass = false;      // some run's captures want it
  bool integers = false;  // AttentionTask::integers
  std::deque<LayerPass> layers;
  std::vector<float> part_output;  // [part][row of the item][value_dim]
  std::vector<float> part_maxima;  // [part][row]
  std::vector<float> part_sums;
  size_t part_rows = 0;        // rows of the largest item
  std::vector<float> cosines;  // [distinct rope][token][pairs], magnitude included
  std::vector<float> sines;
  std::vector<int> rope_of_layer;  // [layer] -> distinct rope

  std::atomic<bool> any_cut{false};  // out: the cache's type could not hold a key or value

  // Memory for the operators, scratch_bytes() a thread, and the sizes that it follows from.
  Scratch scratch;
  size_t most_rows = 0;        // of an item
  size_t most_entries = 0;     // of a lane whose mass is summed
  size_t most_parts = 0;       // of a lane
  int counted_in_a_piece = 0;  // tokens of the largest piece whose queries are counted
  size_t attention_bytes = 0;  // of an item
  size_t scratch_bytes() const;

  /// Divides the block over `threads`.
  void plan(std::span<const Piece> new_pieces, int threads);

  /// The operators, called by every thread of the graph. `layer` indexes layers.
  void write(int layer, const ggml_tensor* q, const ggml_tensor* k, const ggml_tensor* v,
             ggml_tensor* rotated, int thread, int threads);
  void attend(int layer, const ggml_tensor* rotated, ggml_tensor* output, int thread);
  void merge(int layer, ggml_tensor* output, int thread, int threads) const;

 private:
  void add_query_statistics(int layer, const ggml_tensor* q, int thread, int threads) const;
  void plan_rotation();
  void plan_layer(int layer, int threads, int& parts);
  void plan_turns(LayerPass& plan) const;
  size_t lane_of(const AttentionItem& item) const;  // among those of all pieces
  void plan_scratch();
  void attend_item(int layer, const AttentionItem& item, const ggml_tensor* rotated, ggml_tensor* output,
                   Room room);
};

}  // namespace kvedit
