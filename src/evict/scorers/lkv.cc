// LKV-T (LKV, arXiv 2605.06676): a learned map of each KV head from an entry's key, before its rotation, and
// its value to a score; no query is looked at. The map: model/lkv.h.
#include <algorithm>
#include <cmath>

#include "cache/page_pool.h"
#include "evict/lkv_file.h"
#include "evict/output_projection.h"
#include "evict/parts.h"
#include "evict/scorers/page_rows.h"

namespace kvedit {
namespace {

// Turns keys back to position 0. The lanes of a layer hold mostly the same positions, so those of a page keep
// their angles.
class Unrotate {
 public:
  explicit Unrotate(const Rope& rope)
      : rope_(rope),
        positions_(kPageEntries, -1),
        angles_(size_t{kPageEntries} * 2 * rope.frequencies.size()) {}

  /// keys [key_dim][64] -> column c of them into to [key_dim].
  void column(const float* keys, int key_dim, int c, Position position, float* to) {
    const size_t pairs = rope_.frequencies.size();
    const auto angles = std::span(angles_).subspan(c * 2 * pairs, 2 * pairs);
    if (positions_[c] != position) rope_.turn(position, angles.first(pairs), angles.last(pairs));
    positions_[c] = position;
    const float* cosines = angles.data();
    const float* sines = cosines + pairs;
    for (int i = 0; i < key_dim; i++) to[i] = keys[static_cast<size_t>(i) * kPageEntries + c];
    for (size_t i = 0; i < pairs; i++) {
      float& a = to[rope_.first(static_cast<int>(i))];
      float& b = to[rope_.second(static_cast<int>(i))];
      const float x = a / rope_.magnitude;
      const float y = b / rope_.magnitude;
      a = x * cosines[i] + y * sines[i];
      b = y * cosines[i] - x * sines[i];
    }
  }

 private:
  const Rope& rope_;
  std::vector<Position> positions_;  // [64] of the last page
  std::vector<float> angles_;        // [64][cosines, sines][pairs]
};

float activate(float x, Activation activation) {
  if (activation == Activation::silu) return x / (1 + std::exp(-x));
  constexpr float kSqrt2OverPi = 0.7978845608F;
  return 0.5F * x * (1 + std::tanh(kSqrt2OverPi * (x + 0.044715F * x * x * x)));
}

class LkvScorer : public Scorer {
 public:
  explicit LkvScorer(std::shared_ptr<const Lkv> lkv) : lkv_(std::move(lkv)) {}

  void check(const Network& network) const override { check_lkv(lkv_.get(), network); }

  LayerScores score(const LayerView& view) const override {
    const PageShape& shape = view.cache.pool()->shape();
    const LkvLayer& layer = lkv_->layer(view.layer);
    const size_t in = static_cast<size_t>(shape.key_dim) + shape.value_dim;
    Unrotate unrotate((*view.network.hparams().ropes)[view.layer]);
    PageRows rows(shape);
    std::vector<float> x(kPageEntries * in);  // [64][key_dim + value_dim]
    LayerScores scores(view.cache.kv_heads());
    size_t most = 0;  // pages of a lane
    for (int head = 0; head < view.cache.kv_heads(); head++) {
      scores[head].reserve(view.cache.lane(view.layer, head).size());
      most = std::max(most, view.cache.lane(view.layer, head).pages().size());
    }
    // Page by page: in a cache that was not evicted the lanes' pages hold the same positions.
    for (size_t i = 0; i < most; i++) {
      for (int head = 0; head < view.cache.kv_heads(); head++) {
        const auto pages = view.cache.lane(view.layer, head).pages();
        if (i >= pages.size()) continue;
        const PageRef& page = pages[i];
        const float* keys = rows.keys(*page);
        const float* values = rows.entries(*page);
        for (int c = 0; c < page->count; c++) {
          float* entry = &x[c * in];
          unrotate.column(keys, shape.key_dim, c, page->positions[c], entry);
          std::copy_n(values + static_cast<size_t>(c) * shape.value_dim, shape.value_dim,
                      entry + shape.key_dim);
        }
        const auto of_page = map(layer, head, in, x.data());
        scores[head].insert(scores[head].end(), of_page.begin(), of_page.begin() + page->count);
      }
    }
    return scores;
  }

 private:
  // [64] of x [64][in]
  std::vector<float> map(const LkvLayer& layer, int head, size_t in, const float* x) const {
    std::vector<float> scores(kPageEntries);
    if (layer.hidden == 0) {
      const float* weight = &layer.score_weight[head * in];
      for (int c = 0; c < kPageEntries; c++) {
        for (size_t i = 0; i < in; i++) scores[c] += weight[i] * x[c * in + i];
      }
      return scores;
    }
    TimesColumns times(layer.hidden, static_cast<int>(in));
    const float* product = times(&layer.hidden_weight[head * layer.hidden * in], x);  // [hidden][64]
    for (int unit = 0; unit < layer.hidden; unit++) {
      const size_t at = static_cast<size_t>(head) * layer.hidden + unit;
      for (int c = 0; c < kPageEntries; c++) {
        const float z = product[static_cast<size_t>(unit) * kPageEntries + c] + layer.hidden_bias[at];
        scores[c] += layer.score_weight[at] * activate(z, lkv_->activation());
      }
    }
    return scores;
  }

  std::shared_ptr<const Lkv> lkv_;
};

}  // namespace

ScorerPart lkv_scorer() {
  return {.name = "lkv",
          .paper = "arXiv 2605.06676",
          .description = "A learned score of an entry's unrotated key and its value.",
          .parameters = {lkv_file_parameter()},
          .make = [](const Parameters& parameters) -> std::unique_ptr<Scorer> {
            return std::make_unique<LkvScorer>(load_lkv(parameters));
          }};
}

}  // namespace kvedit
