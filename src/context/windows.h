// Sliding-window layers under swa=window: what no later query can reach is freed as the text grows.
//
// A cache says from which position on its sliding-window layers hold everything, Cache::held_from(). A
// query at position p reads positions > p - window there. One that reads held positions alone gives, bit
// for bit, what it would give had nothing been freed; any other must not run.
#pragma once

#include <functional>
#include <string_view>

#include "compute/engine.h"

namespace kvedit {

/// Tokens before the next query that an edit leaves readable: policies forward the last ones once more.
inline constexpr int kWindowReserve = 64;
/// Tokens beyond the window that are not freed: the reserve, and as many for edits near the text's end, which
/// let later queries reach further back.
inline constexpr int kWindowSlack = kWindowReserve + 64;

/// Tells whether queries from position `first` on read only what is held.
bool window_held(const Cache& cache, const Hparams& h, Position first);
/// Tells whether a text can go on at position `next`: from the reserve in front of it on, only what is held
/// is read.
bool window_goes_on(const Cache& cache, const Hparams& h, Position next);
/// Throws Error(unsupported) naming what is read and what is held, if not. what: "this edit", ...
void require_window(const Cache& cache, const Hparams& h, Position first, std::string_view where,
                    std::string_view what);
/// Frees the pages that queries from `next` on, and kWindowSlack before it, do not read; never fails.
void free_windows(Cache& cache, const Hparams& h, Position next) noexcept;

struct ReadOptions {
  bool free_windows = false;  // after each block
  Progress progress;
  std::function<void()> placed;  // called when a block's entries have been added; may throw
};

/// Appends entries for the run's tokens to its cache and forwards them. When it throws, the caller restores:
/// some of the new entries may be there, and of several blocks (engine.block_tokens()) with free_windows,
/// old ones gone.
void read_tokens(Engine& engine, const Run& run, const ReadOptions& options);

}  // namespace kvedit
