#include "evict/scoring.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "tools/text.h"

namespace kvedit {
Scoring::Scoring(const LayerView& view, Capture capture, std::span<const Position> positions, int scorers,
                 int threads, Progress progress)
    : used_(view.cache.layers()),
      view_{0, view.cache, view.network, captures_, view.seed, {}, view.pending},
      capture_(std::move(capture)),
      positions_(positions),
      total_(static_cast<size_t>(view.cache.layers()) * scorers),
      threads_(threads),
      progress_(std::move(progress)) {}

LayerView Scoring::view(int layer) const {
  LayerView view = view_;
  view.layer = layer;
  return view;
}

void Scoring::capture(const CaptureRequest& needs, int scorers) {
  captures_ = {};  // the last pass's first
  captures_ = capture_(needs);
  needs_ = needs;
  uses_ = scorers;
  std::fill(used_.begin(), used_.end(), 0);
  view_.window_positions = positions_.last(std::min<size_t>(positions_.size(), captures_.tokens));
}

bool Scoring::captured(const CaptureRequest& needs, std::span<const int> layers) const {
  if (CaptureRequest{}.answers(needs)) return true;
  return needs_.answers(needs) &&
         std::all_of(layers.begin(), layers.end(), [&](int layer) { return used_[layer] < uses_; });
}

// A layer is scored by one thread at a time.
void Scoring::count_use(int layer) {
  if (++used_[layer] != uses_) return;
  captures_.free_layer(layer, view_.cache.kv_heads());
}

std::span<const Candidates> Scoring::candidates(const Scorer& scorer, std::span<const Contestants> lanes) {
  Scores& scores = scores_[&scorer];
  const int kv_heads = view_.cache.kv_heads();
  scores.lanes.resize(static_cast<size_t>(view_.cache.layers()) * kv_heads);
  scores.stages.resize(view_.cache.layers());
  make(scorer, scores, lanes.front().layer, lanes.back().layer + 1);
  for (const Contestants& lane : lanes) {
    if (scores.stages[lane.layer] == Stage::of_contestants) continue;
    std::vector<float>& of_lane = scores.lanes[lane.layer * kv_heads + lane.head].scores;
    size_t at = 0;
    for (const int entry : lane.entries.list()) of_lane[at++] = of_lane[entry];
    of_lane.resize(at);
    if (lane.head == kv_heads - 1) scores.stages[lane.layer] = Stage::of_contestants;
  }
  return std::span(scores.lanes).subspan(static_cast<size_t>(lanes.front().layer) * kv_heads, lanes.size());
}

void Scoring::release(std::span<const Contestants> lanes) {
  for (auto& [scorer, scores] : scores_) {
    for (const Contestants& lane : lanes) {
      scores.lanes[lane.layer * view_.cache.kv_heads() + lane.head] = Candidates();
      scores.stages[lane.layer] = Stage::missing;
    }
  }
}

void Scoring::make_layer(const Scorer& scorer, Scores& scores, int layer) {
  LayerScores made = scorer.score(view(layer));
  const int kv_heads = view_.cache.kv_heads();
  for (int head = 0; head < kv_heads; head++) {
    const int entries = view_.cache.lane(layer, head).size();
    if (made[head].size() != static_cast<size_t>(entries)) {
      fail(ErrorCode::invalid_argument, "evict", made[head].size(), " scores for the ", entries,
           " entries of layer ", layer, ", head ", head);
    }
    for (float& s : made[head]) s = std::isnan(s) ? -std::numeric_limits<float>::infinity() : s;
    made[head].shrink_to_fit();
    scores.lanes[layer * kv_heads + head] = {layer, head, std::move(made[head])};
  }
  scores.stages[layer] = Stage::of_entries;
  count_use(layer);
}

void Scoring::report(size_t done) const {
  if (progress_ && !progress_(done, total_)) {
    fail(ErrorCode::cancelled, "evict", "cancelled after ", done, " of ", total_, " layers");
  }
}

// Those of [begin, end) that are missing; where these are fewer than the threads, as for `squeeze`, the next
// layers along with them. Progress is reported on the calling thread alone.
void Scoring::make(const Scorer& scorer, Scores& scores, int begin, int end) {
  std::vector<int> layers;
  for (int layer = begin; layer < view_.cache.layers(); layer++) {
    if (layer >= end && (layers.empty() || layers.size() >= static_cast<size_t>(threads_))) break;
    if (scores.stages[layer] == Stage::missing) layers.push_back(layer);
  }
  if (layers.empty()) return;
  if (!captured(scorer.needs(), layers)) capture(scorer.needs(), 1);

  std::atomic<size_t> next = 0, done = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&](const std::function<void()>& after) {
    try {
      for (size_t i = next++; i < layers.size(); i = next++) {
        make_layer(scorer, scores, layers[i]);
        done++;
        after();
      }
    } catch (...) {
      next = layers.size();  // the others stop
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  size_t reported = 0;
  {
    std::vector<std::jthread> workers;
    const int threads = std::min(threads_, static_cast<int>(layers.size()));
    try {
      for (int i = 1; i < threads; i++) workers.emplace_back([&] { work([] {}); });
    } catch (const std::system_error&) {  // the system has no more threads: these do all of it
    }
    work([&] { report(done_ + (reported = done)); });
  }
  if (failure) std::rethrow_exception(failure);
  done_ += layers.size();
  if (reported < layers.size()) report(done_);
}

size_t Contest::size() const {
  size_t sum = 0;
  for (const Contestants& lane : lanes) sum += lane.entries.size();
  return sum;
}

std::span<const Candidates> Contest::candidates(const Scorer& scorer) const {
  return scoring.candidates(scorer, lanes);
}

}  // namespace kvedit
