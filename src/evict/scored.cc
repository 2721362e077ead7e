// The selector most policies are: the allocator's number of each lane's highest scores.
#include <utility>

#include "evict/highest.h"
#include "evict/parts.h"
#include "evict/scoring.h"

namespace kvedit {
namespace {

class Scored : public Selector {
 public:
  Scored(std::unique_ptr<Scorer> scorer, std::unique_ptr<Allocator> allocator)
      : scorer_(std::move(scorer)), allocator_(std::move(allocator)) {}

  CaptureRequest needs() const override { return scorer_->needs(); }
  void check(const Network& network) const override {
    scorer_->check(network);
    allocator_->check(network);
  }
  const Scorer* scorer() const override { return scorer_.get(); }
  int scorers() const override { return 1; }

  Picks select(const Contest& contest, size_t budget) const override {
    const auto lanes = contest.candidates(*scorer_);
    const int kv_heads = contest.scoring.view(0).cache.kv_heads();
    const auto counts = allocator_->allocate(lanes, kv_heads, budget);
    Picks picks;
    for (size_t i = 0; i < lanes.size(); i++) {
      picks.push_back(contest.lanes[i].entries.at(highest(lanes[i].scores, counts[i])));
    }
    return picks;
  }

 private:
  std::unique_ptr<Scorer> scorer_;
  std::unique_ptr<Allocator> allocator_;
};

}  // namespace

std::unique_ptr<Selector> scored(std::unique_ptr<Scorer> scorer, std::unique_ptr<Allocator> allocator) {
  return std::make_unique<Scored>(std::move(scorer), std::move(allocator));
}

}  // namespace kvedit
