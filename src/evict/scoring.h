// The scores of one eviction: a scorer's are made when they are first asked for, by several threads, and
// kept, since combinators come back for those of their base.
#pragma once

#include <map>

#include "evict/policy.h"

namespace kvedit {

class Scoring {
 public:
  /// view: of any layer. scorers: how many will be asked, for the progress.
  Scoring(const LayerView& view, int scorers, int threads, Progress progress);

  /// Throws what the scorer throws, Error(invalid_argument) when it gives another number of scores than
  /// there are entries, Error(cancelled).
  const LayerScores& of(const Scorer& scorer, int layer);
  LayerView view(int layer) const;

 private:
  LayerScores score(const Scorer& scorer, int layer) const;
  std::vector<LayerScores> score_layers(const Scorer& scorer);
  void report(size_t layers) const;

  LayerView view_;
  size_t total_;  // layers to score, over all scorers
  int threads_;
  Progress progress_;
  std::map<const Scorer*, std::vector<LayerScores>> scores_;  // [layer]
};

}  // namespace kvedit
