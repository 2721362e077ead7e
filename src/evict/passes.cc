#include "evict/passes.h"

#include <algorithm>

#include "kvedit/evict.h"
#include "tools/stopwatch.h"

namespace kvedit {
namespace {

bool same_pages(const Cache& a, const Cache& b) {
  if (a.layers() != b.layers() || a.kv_heads() != b.kv_heads()) return false;
  const auto same = [](const PageRef& x, const PageRef& y) { return &*x == &*y; };
  for (int layer = 0; layer < a.layers(); layer++) {
    for (int head = 0; head < a.kv_heads(); head++) {
      if (!std::ranges::equal(a.lane(layer, head).pages(), b.lane(layer, head).pages(), same)) return false;
    }
  }
  return true;
}

}  // namespace

std::shared_ptr<EvictPasses> make_evict_passes() { return std::make_shared<EvictPasses>(); }

void EvictPasses::look_at(const Cache& cache, const Transcript& transcript) {
  spared_ms_ = 0;
  if (context_ && context_->transcript.tokens == transcript.tokens &&
      context_->transcript.positions == transcript.positions && same_pages(context_->cache, cache)) {
    return;
  }
  passes_.clear();
  context_ = Pinned{cache.fork(), transcript};
}

Captures EvictPasses::captures(const CaptureRequest& needs, Cache& cache, std::span<const Position> pending,
                               const Capture& make) {
  const PageShape& shape = cache.pool()->shape();
  const int lanes = pending.empty() ? 0 : cache.layers() * cache.kv_heads();
  for (const Pass& pass : passes_) {
    if (pass.needs != needs) continue;
    for (int lane = 0; lane < lanes; lane++) {
      cache.write(lane / cache.kv_heads(), lane % cache.kv_heads(), pending, pass.keys[lane],
                  pass.values[lane]);
    }
    spared_ms_ += pass.ms;
    return pass.captures;
  }
  const Stopwatch watch;
  Pass pass{needs, make(needs), {}, {}, watch.ms()};
  for (int i = 0; i < lanes; i++) {
    const Lane& lane = cache.lane(i / cache.kv_heads(), i % cache.kv_heads());
    std::vector<float>& key = pass.keys.emplace_back(shape.key_dim);
    std::vector<float>& value = pass.values.emplace_back(shape.value_dim);
    lane.read(lane.size() - 1, lane.size(), key, value);
  }
  passes_.push_back(std::move(pass));
  return passes_.back().captures;
}

}  // namespace kvedit
