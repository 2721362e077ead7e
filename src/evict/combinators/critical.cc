// CriticalKV (Feng et al., "Identify Critical KV Cache in LLM Inference from an Output Perturbation
// Perspective", arXiv 2502.03805, algorithm 1): whatever the base has each lane keep, only a share of it is
// chosen by the base's scores s; the rest by
//
//   (s + eps) |v W|_1,  the mean over the query heads h of the group of |v W_h|_1,
//
// a bound of what losing the entry does to the layer's output.
#include <algorithm>
#include <cmath>
#include <utility>

#include "evict/highest.h"
#include "evict/output_projection.h"
#include "evict/parts.h"
#include "evict/scoring.h"
#include "tools/text.h"

namespace kvedit {
namespace {

// |v W|_1 of the entries of one layer's lanes.
class ValueNorms {
 public:
  explicit ValueNorms(const LayerView& view)
      : view_(view),
        rows_(view.network, view.layer),
        times_(view.network.hparams().d_model, view.network.hparams().value_dim) {}

  std::vector<float> of_lane(int head) {
    const Hparams& h = view_.network.hparams();
    const Lane& lane = view_.cache.lane(view_.layer, head);
    const int reach = view_.first_reachable(head);
    std::vector<float> norms(lane.size());
    for (int query_head = head * h.group(); query_head < (head + 1) * h.group(); query_head++) {
      const auto slice = slice_of(query_head);
      PageRows rows(view_.cache.pool()->shape());
      int end = 0;  // of the page's entries
      for (const PageRef& page : lane.pages()) {
        end += page->count;
        if (end <= reach) continue;
        const float* product = times_(slice.data(), rows.entries(*page));  // [d_model][64]
        float sums[kPageEntries] = {};
        for (int i = 0; i < h.d_model; i++, product += kPageEntries) {
          for (int c = 0; c < kPageEntries; c++) sums[c] += std::fabs(product[c]);
        }
        float* to = &norms[end - page->count];
        for (int c = 0; c < page->count; c++) to[c] += sums[c] / static_cast<float>(h.group());
      }
    }
    return norms;
  }

 private:
  std::vector<float> slice_of(int query_head) {  // [d_model][value_dim]
    const Hparams& h = view_.network.hparams();
    std::vector<float> slice(static_cast<size_t>(h.d_model) * h.value_dim);
    for (int i = 0; i < h.d_model; i++) {
      std::copy_n(rows_.row(i, query_head * h.value_dim, (query_head + 1) * h.value_dim), h.value_dim,
                  &slice[static_cast<size_t>(i) * h.value_dim]);
    }
    return slice;
  }

  LayerView view_;
  OutputRows rows_;
  TimesColumns times_;
};

class Critical : public Selector {
 public:
  Critical(std::unique_ptr<Selector> base, double first, double epsilon)
      : base_(std::move(base)), first_(first), epsilon_(static_cast<float>(epsilon)) {}

  CaptureRequest needs() const override { return base_->needs(); }
  void check(const Network& network) const override { base_->check(network); }
  const Scorer* scorer() const override { return base_->scorer(); }
  int scorers() const override { return base_->scorers(); }

  Picks select(const Contest& contest, size_t budget) const override {
    Picks picks = base_->select(contest, budget);
    const auto lanes = contest.candidates(*base_->scorer());
    for (size_t begin = 0; begin < lanes.size();) {
      const int layer = lanes[begin].layer;
      ValueNorms norms(contest.scoring.view(layer));
      for (; begin < lanes.size() && lanes[begin].layer == layer; begin++) {
        const EntrySet& entries = contest.lanes[begin].entries;
        const int count = picks[begin].size();
        if (count == 0 || count == entries.size()) continue;
        picks[begin] = in_stages(lanes[begin].scores, entries, norms.of_lane(lanes[begin].head), count);
      }
    }
    return picks;
  }

 private:
  EntrySet in_stages(std::vector<float> scores, const EntrySet& contestants, std::span<const float> norms,
                     int count) const {
    const auto entries = contestants.list();
    const auto first = highest(scores, static_cast<size_t>(first_ * static_cast<double>(count)));
    for (size_t i = 0; i < scores.size(); i++) scores[i] = (scores[i] + epsilon_) * norms[entries[i]];
    for (const int i : first) scores[i] = std::numeric_limits<float>::infinity();
    return contestants.at(highest(scores, count));
  }

  std::unique_ptr<Selector> base_;
  double first_;
  float epsilon_;
};

std::unique_ptr<Selector> make_critical(const Parameters& parameters,
                                        std::vector<std::unique_ptr<Selector>> bases) {
  if (!bases[0]->scorer()) {
    fail(ErrorCode::invalid_argument, "evict", "critical needs a policy that ranks by one scorer, not a mix");
  }
  return std::make_unique<Critical>(std::move(bases[0]), parameters.get("first"), parameters.get("epsilon"));
}

}  // namespace

CombinatorPart critical_combinator() {
  return {.name = "critical",
          .paper = "arXiv 2502.03805",
          .description = "As many a lane as its base keeps; the rest of them by score times norm of v W.",
          .parameters = {{.name = "first",
                          .value = 0.5,
                          .description = "share of a lane's entries chosen by the base's scores alone",
                          .minimum = 0,
                          .maximum = 1,
                          .whole = false},
                         {.name = "epsilon",
                          .value = 1e-4,
                          .description = "added to the scores, so that large values count where these are 0",
                          .minimum = 0,
                          .maximum = 1,
                          .whole = false}},
          .make = make_critical};
}

}  // namespace kvedit
