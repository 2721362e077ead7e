// Two policies for one cache: the first spends its share of the budget, the second the rest among what is
// left. What a scorer of keys keeps for retrieval and what a scorer of attention keeps for the text to come
// differ, and a share of each serves both.
#include <cmath>
#include <utility>

#include "evict/parts.h"
#include "evict/scoring.h"

namespace kvedit {
namespace {

class Mix : public Selector {
 public:
  Mix(std::vector<std::unique_ptr<Selector>> bases, double share)
      : first_(std::move(bases[0])), second_(std::move(bases[1])), share_(share) {}

  CaptureRequest needs() const override { return first_->needs() | second_->needs(); }
  void check(const Network& network) const override {
    first_->check(network);
    second_->check(network);
  }
  const Scorer* scorer() const override { return nullptr; }
  int scorers() const override { return first_->scorers() + second_->scorers(); }

  Picks select(const Contest& contest, size_t budget) const override {
    const auto of_first = static_cast<size_t>(std::llround(share_ * static_cast<double>(budget)));
    Picks picks = first_->select(contest, of_first);
    contest.scoring.release(contest.lanes);  // nobody above a mix asks for its scores
    Contest left = contest;
    for (size_t i = 0; i < picks.size(); i++) left.lanes[i].entries -= picks[i];
    const Picks more = second_->select(left, budget - of_first);
    contest.scoring.release(contest.lanes);
    for (size_t i = 0; i < picks.size(); i++) picks[i] |= more[i];
    return picks;
  }

 private:
  std::unique_ptr<Selector> first_;
  std::unique_ptr<Selector> second_;
  double share_;
};

}  // namespace

CombinatorPart mix_combinator() {
  return {
      .name = "mix",
      .paper = "",
      .description = "A share of the budget to the first policy, the rest to the second, among what is left.",
      .parameters = {{.name = "share",
                      .value = 0.5,
                      .description = "of the budget, for the first policy",
                      .minimum = 0,
                      .maximum = 1,
                      .whole = false}},
      .bases = 2,
      .make = [](const Parameters& parameters,
                 std::vector<std::unique_ptr<Selector>> bases) -> std::unique_ptr<Selector> {
        return std::make_unique<Mix>(std::move(bases), parameters.get("share"));
      }};
}

}  // namespace kvedit
