// The scores of one eviction, and the passes they are made from. A scorer's scores are made when they are
// first asked for, by several threads, and kept, since `critical` comes back for those of its base. Scores
// and records of passes are freed when they have served. So beside the cache there are at most the scores of
// one scorer over all lanes, or the record of one pass, unless a combinator asks for several scorers at once.
#pragma once

#include <map>
#include <vector>

#include "evict/policy.h"

namespace kvedit {

class Scoring {
 public:
  /// view: of any layer; its captures and window_positions are left to the passes. positions: the context's
  /// last, as many as a pass may capture. scorers: how many will be asked, for the progress.
  Scoring(const LayerView& view, Capture capture, std::span<const Position> positions, int scorers,
          int threads, Progress progress);
  Scoring(const Scoring&) = delete;
  Scoring& operator=(const Scoring&) = delete;

  /// Returns the scores of these lanes' entries, [lanes], whole layers in order; the entries of a lane may
  /// not change until release(). A view into this. Throws what the scorer throws, Error(invalid_argument)
  /// when it gives another number of scores than there are entries, Error(cancelled).
  std::span<const Candidates> candidates(const Scorer& scorer, std::span<const Contestants> lanes);
  /// Frees the scores of these lanes' layers; asking for them again makes them again.
  void release(std::span<const Contestants> lanes);
  /// Makes a pass for `scorers` scorers at once; a scorer without one gets its own. A layer's captures are
  /// freed when all of them have scored it.
  void capture(const CaptureRequest& needs, int scorers);
  /// Returns a view of a layer, valid until the next pass.
  LayerView view(int layer) const;

 private:
  enum class Stage : uint8_t { missing, of_entries, of_contestants };
  struct Scores {
    std::vector<Candidates> lanes;  // [layer * kv_heads + head]
    std::vector<Stage> stages;      // [layer]
  };
  void make(const Scorer& scorer, Scores& scores, int begin, int end);
  void make_layer(const Scorer& scorer, Scores& scores, int layer);
  bool captured(const CaptureRequest& needs, std::span<const int> layers) const;
  void count_use(int layer);
  void report(size_t done) const;

  Captures captures_;
  CaptureRequest needs_;   // what they were made for
  int uses_ = 0;           // scorers they were made for
  std::vector<int> used_;  // [layer] scorers that had them
  LayerView view_;
  Capture capture_;
  std::span<const Position> positions_;
  size_t total_;     // layers to score, over all scorers
  size_t done_ = 0;  // of them
  int threads_;
  Progress progress_;
  std::map<const Scorer*, Scores> scores_;
};

}  // namespace kvedit
