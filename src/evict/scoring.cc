#include "evict/scoring.h"

#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"

namespace kvedit {

Scoring::Scoring(const LayerView& view, int scorers, int threads, Progress progress)
    : view_(view),
      total_(static_cast<size_t>(view.cache.layers()) * scorers),
      threads_(threads),
      progress_(std::move(progress)) {}

LayerView Scoring::view(int layer) const {
  LayerView view = view_;
  view.layer = layer;
  return view;
}

const LayerScores& Scoring::of(const Scorer& scorer, int layer) {
  auto found = scores_.find(&scorer);
  if (found == scores_.end()) found = scores_.emplace(&scorer, score_layers(scorer)).first;
  return found->second[layer];
}

LayerScores Scoring::score(const Scorer& scorer, int layer) const {
  LayerScores scores = scorer.score(view(layer));
  for (int head = 0; head < view_.cache.kv_heads(); head++) {
    const int entries = view_.cache.lane(layer, head).size();
    if (scores[head].size() != static_cast<size_t>(entries)) {
      fail(ErrorCode::invalid_argument, "evict", scores[head].size(), " scores for the ", entries,
           " entries of layer ", layer, ", head ", head);
    }
    for (float& s : scores[head]) s = std::isnan(s) ? -std::numeric_limits<float>::infinity() : s;
  }
  return scores;
}

void Scoring::report(size_t layers) const {
  const size_t done = scores_.size() * view_.cache.layers() + layers;
  if (progress_ && !progress_(done, total_)) {
    fail(ErrorCode::cancelled, "evict", "cancelled after ", done, " of ", total_, " layers");
  }
}

// Progress is reported on the calling thread alone.
std::vector<LayerScores> Scoring::score_layers(const Scorer& scorer) {
  const auto layers = static_cast<size_t>(view_.cache.layers());
  std::vector<LayerScores> scores(layers);
  std::atomic<size_t> next = 0, done = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&](const std::function<void()>& after) {
    try {
      for (size_t layer = next++; layer < layers; layer = next++) {
        scores[layer] = score(scorer, static_cast<int>(layer));
        done++;
        after();
      }
    } catch (...) {
      next = layers;  // the others stop
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  size_t reported = 0;
  {
    std::vector<std::jthread> workers;
    for (int i = 1; i < threads_; i++) workers.emplace_back([&] { work([] {}); });
    work([&] { report(reported = done); });
  }
  if (failure) std::rethrow_exception(failure);
  if (reported < layers) report(layers);
  return scores;
}

size_t Contest::size() const {
  size_t sum = 0;
  for (const Contestants& lane : lanes) sum += lane.entries.size();
  return sum;
}

std::vector<Candidates> Contest::candidates(const Scorer& scorer) const {
  std::vector<Candidates> all;
  for (const Contestants& lane : lanes) {
    const std::vector<float>& scores = scoring.of(scorer, lane.layer)[lane.head];
    Candidates& of_lane = all.emplace_back(Candidates{lane.layer, lane.head, {}});
    for (const int entry : lane.entries) of_lane.scores.push_back(scores[entry]);
  }
  return all;
}

}  // namespace kvedit
