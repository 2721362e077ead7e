// The frame of scorers that let a window of last queries vote for what came before it.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "evict/scorers/window_attention.h"

namespace kvedit {

/// Queries of the last tokens, of all layers and heads, are held while scores are made: 10 to 500 KB a token.
inline constexpr int kMostWindow = 512;

/// The entries of a lane that compete: [begin, end) of `size`, within reach and before the window.
struct Competing {
  int head = 0;
  int begin = 0;
  int end = 0;
  int size = 0;
};

/// Returns the scores of [begin, end), which is not empty.
using Votes = std::function<std::vector<float>(const WindowAttention&, const Competing&)>;

/// Calls `votes` for each lane of the layer. Entries of the window get the layer's largest score - the
/// policy's `recent` keeps them anyway - and unreachable ones 0. Errors as of WindowAttention.
LayerScores window_scores(const LayerView& view, int window, const Votes& votes);

/// Returns the attention of each query head to each entry, [group][size], mean over the window. Rows sum
/// to 1.
std::vector<float> window_means(const WindowAttention& attention, int size);

// One-dimensional pooling of scores along a lane, stride 1, `kernel` odd, as torch pads it.
enum class Pooling { average, maximum };

/// Average: outside the scores counts as zero, and the sum is always divided by the kernel
/// (count_include_pad). Maximum: outside is ignored.
std::vector<float> pool(std::span<const float> scores, int kernel, Pooling pooling);

/// Declares the parameters `kernel` and `pool`, and the check that the kernel is odd.
std::vector<Parameter> pooling_parameters(int kernel, Pooling pooling);
void check_kernel(int kernel);

enum class Group { mean, sum, maximum };

/// Makes scores of the entries that compete from rows [group][lane.size], one of each query head: pools each
/// row among those entries, then combines the group.
std::vector<float> pool_group(std::span<const float> rows, const Competing& lane, int kernel, Pooling pooling,
                              Group combine);

/// Declares the parameters `window` (how many last queries vote), `kernel` and `pool`.
std::vector<Parameter> window_parameters(int window, int kernel, Pooling pooling);

/// The values given for them. Throws Error(invalid_argument) for an even kernel.
struct WindowOptions {
  explicit WindowOptions(const Parameters& parameters);
  int window;
  int kernel;
  Pooling pooling;
};

}  // namespace kvedit
