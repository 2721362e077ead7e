#include "context/windows.h"

#include <algorithm>

#include "tools/text.h"

namespace kvedit {

bool window_held(const Cache& cache, const Hparams& h, Position first) {
  return cache.held_from() == 0 || first - h.window + 1 >= cache.held_from();
}

bool window_goes_on(const Cache& cache, const Hparams& h, Position next) {
  return window_held(cache, h, next - kWindowReserve);
}

void require_window(const Cache& cache, const Hparams& h, Position first, std::string_view where,
                    std::string_view what) {
  if (window_held(cache, h, first)) return;
  fail(
      ErrorCode::unsupported, where, what, " needs positions ", std::max(0, first - h.window + 1),
      ".. in sliding-window layers, which hold positions ", cache.held_from(),
      ".. only; SessionOptions::swa = window freed the rest. recompute reads the text again, full keeps all");
}

void free_windows(Cache& cache, const Hparams& h, Position next) noexcept {
  const Position before = next - h.window + 1 - kWindowSlack;
  if (h.window == 0 || before <= 0) return;
  for (int layer = 0; layer < h.layers; layer++) {
    if (h.sliding[layer]) cache.free_before(layer, before);
  }
}

void read_tokens(Engine& engine, const Run& run, const ReadOptions& options) {
  const size_t size = run.tokens.size();
  // As the engine would cut them, so that nothing depends on whether windows are freed.
  const size_t block = options.free_windows ? engine.block_tokens() : size;
  for (size_t first = 0; first < size; first += block) {
    Run part = run;
    const size_t n = std::min(block, size - first);
    part.tokens = run.tokens.subspan(first, n);
    part.positions = run.positions.subspan(first, n);
    part.cache->append(part.positions);
    if (options.placed) options.placed();
    Progress progress;
    if (options.progress)
      progress = [&](size_t done, size_t) { return options.progress(first + done, size); };
    engine.forward({&part, 1}, progress);
    if (options.free_windows) {
      free_windows(*part.cache, engine.network().hparams(), part.positions.back() + 1);
    }
  }
}

}  // namespace kvedit
