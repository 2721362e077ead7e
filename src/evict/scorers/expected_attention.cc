// Expected Attention (Devoto et al., "Expected Attention: KV Cache Compression by Estimating Attention from
// Future Queries Distribution", arXiv 2510.00636, section 3): queries to come are taken as normal, with the
// mean mu and covariance S of the context's own queries before RoPE, turned by the mean rotation R over the
// next positions. With ' for that turn and c the attention scale, E exp(c q'.k) gives
//
//   e(h, j) = c mu'.k_j + c^2/2 k_j^T S' k_j,  mu' = R mu,  S' = R S R^T
//   score(g, j) = ( mean over query heads h of group g of softmax_j e(h, j)  +  epsilon ) ||v_j||_2
//
// As in kvpress's ExpectedAttentionPress, epsilon is 0 by default, and the first tokens count neither in the
// statistics nor in the softmax, and get the layer's largest score. On a cache already evicted the statistics
// are of the queries of the tail that every lane still holds whole.
#include <algorithm>
#include <cmath>

#include "evict/parts.h"
#include "evict/scorers/page_rows.h"
#include "tools/text.h"

namespace kvedit {
namespace {

// The mean of a layer's rotation over positions to come: turns pairs, shrinks the fast ones. Of n angles that
// are w apart it is the one in the middle, times sin(n w/2) / (n sin(w/2)), as a geometric series adds up.
class MeanRotation {
 public:
  MeanRotation(const Rope& rope, Position first, int positions) : rope_(rope) {
    for (const double w : rope.frequencies) {
      const double middle = w * (first + (positions - 1) / 2.0);
      const double length = rope.magnitude * shrunk(w / 2, positions);
      cosines_.push_back(length * std::cos(middle));
      sines_.push_back(length * std::sin(middle));
    }
  }
  /// Turns a vector whose elements stand `stride` apart.
  void turn(double* x, int stride) const {
    for (size_t i = 0; i < cosines_.size(); i++) {
      double& a = x[rope_.first(static_cast<int>(i)) * stride];
      double& b = x[rope_.second(static_cast<int>(i)) * stride];
      const double turned = a * cosines_[i] - b * sines_[i];
      b = a * sines_[i] + b * cosines_[i];
      a = turned;
    }
  }

 private:
  static double shrunk(double half, int n) {
    if (std::fabs(std::sin(half)) > 1e-9) return std::sin(n * half) / (n * std::sin(half));
    return std::cos(n * half) / std::cos(half);  // its limit where all angles are the same
  }

  const Rope& rope_;
  std::vector<double> cosines_, sines_;  // [pairs]
};

// A query head's exponent as a function of the key: linear [d] . k + k^T square [d][d] k, the square part
// folded into its columns <= row.
struct Exponent {
  std::vector<float> linear, square;

  // to [64] = the exponents of a page's keys [d][64].
  void of(const float* keys, float* to) const {
    const auto d = static_cast<int>(linear.size());
    std::fill_n(to, kPageEntries, 0.0F);
    float inner[kPageEntries];
    for (int i = 0; i < d; i++) {
      std::fill_n(inner, kPageEntries, linear[i]);
      for (int j = 0; j <= i && !square.empty(); j++) {
        const float s = square[static_cast<size_t>(i) * d + j];
        for (int c = 0; c < kPageEntries; c++) inner[c] += s * keys[j * kPageEntries + c];
      }
      for (int c = 0; c < kPageEntries; c++) to[c] += inner[c] * keys[i * kPageEntries + c];
    }
  }
};

struct MomentOptions {
  int future;
  int skip;
  bool covariance;
  bool vnorm;
  float epsilon;
};

class ExpectedAttention : public Scorer {
 public:
  explicit ExpectedAttention(const MomentOptions& options) : options_(options) {}

  CaptureRequest needs() const override { return {.query_statistics = true, .first_counted = options_.skip}; }

  LayerScores score(const LayerView& view) const override {
    const Hparams& h = view.network.hparams();
    const Captures& captures = view.captures;
    const auto elements = [&](const auto& layers) {
      return static_cast<size_t>(view.layer) < layers.size() ? layers[view.layer].size() : 0;
    };
    const size_t means = static_cast<size_t>(h.heads) * h.key_dim, moments = h.heads * triangle(h.key_dim);
    if (elements(captures.query_means) != means || elements(captures.query_moments) != moments) {
      fail(ErrorCode::invalid_argument, "evict", "query statistics captured in ",
           elements(captures.query_means), " and ", elements(captures.query_moments), " elements, not ",
           means, " and ", moments);
    }
    const MeanRotation rotation((*h.ropes)[view.layer], view.cache.last_position() + 1, options_.future);
    LayerScores scores(h.kv_heads);
    std::vector<int> begins;  // [kv_head] the first entry that competes
    float largest = 0;
    for (int head = 0; head < h.kv_heads; head++) {
      const auto positions = view.cache.lane(view.layer, head).positions();
      const auto sinks = std::lower_bound(positions.begin(), positions.end(), options_.skip);
      begins.push_back(std::max(view.first_reachable(head), static_cast<int>(sinks - positions.begin())));
      scores[head] = score_lane(view, head, begins[head], rotation);
      for (float s : scores[head]) largest = std::max(largest, s);
    }
    for (int head = 0; head < h.kv_heads; head++) {
      std::fill_n(scores[head].begin(), begins[head], largest);
    }
    return scores;
  }

 private:
  Exponent exponent(const LayerView& view, int query_head, const MeanRotation& rotation) const {
    const Hparams& h = view.network.hparams();
    const int d = h.key_dim;
    const double n = std::max(1, view.captures.counted);
    const double scale = h.attention_scale;
    const double* means = &view.captures.query_means[view.layer][static_cast<size_t>(query_head) * d];
    const float* moments = &view.captures.query_moments[view.layer][query_head * triangle(d)];
    std::vector<double> mean(means, means + d);
    Exponent exponent;
    if (options_.covariance) {
      std::vector<double> covariance(static_cast<size_t>(d) * d);
      for (int i = 0; i < d; i++) {
        for (int j = 0; j <= i; j++) {
          covariance[i * d + j] = covariance[j * d + i] = moments[triangle(i) + j] / n;
        }
      }
      for (int i = 0; i < d; i++) rotation.turn(&covariance[static_cast<size_t>(i) * d], 1);
      for (int j = 0; j < d; j++) rotation.turn(&covariance[j], d);
      exponent.square.resize(covariance.size());
      for (int i = 0; i < d; i++) {
        for (int j = 0; j <= i; j++) {
          const double both = covariance[i * d + j] + (j < i ? covariance[j * d + i] : 0);
          exponent.square[i * d + j] = static_cast<float>(scale * scale / 2 * both);
        }
      }
    }
    rotation.turn(mean.data(), 1);
    for (double m : mean) exponent.linear.push_back(static_cast<float>(scale * m));
    return exponent;
  }

  // [entries], zero before `begin`.
  std::vector<float> score_lane(const LayerView& view, int head, int begin,
                                const MeanRotation& rotation) const {
    const Hparams& h = view.network.hparams();
    const Lane& lane = view.cache.lane(view.layer, head);
    std::vector<Exponent> exponents;
    for (int g = 0; g < h.group(); g++) exponents.push_back(exponent(view, head * h.group() + g, rotation));
    const auto n = static_cast<size_t>(lane.size());
    std::vector<float> rows(exponents.size() * n);  // [group][entries]
    std::vector<float> norms;                       // [entries]
    norms.reserve(n);
    PageRows page_rows(view.cache.pool()->shape());
    float column[kPageEntries];
    size_t first = 0;
    for (const PageRef& page : lane.pages()) {
      const float* keys = page_rows.keys(*page);
      for (size_t g = 0; g < exponents.size(); g++) {
        exponents[g].of(keys, column);
        std::copy_n(column, page->count, &rows[g * n + first]);
      }
      column_squares(page_rows.values(*page), h.value_dim, column);
      for (int c = 0; c < page->count; c++) norms.push_back(std::sqrt(column[c]));
      first += page->count;
    }
    std::vector<float> scores(n);
    for (size_t g = 0; g < exponents.size(); g++) {
      add_softmax(std::span(rows).subspan(g * n + begin, n - begin), std::span(scores).subspan(begin));
    }
    for (size_t j = begin; j < n; j++) {
      scores[j] /= static_cast<float>(exponents.size());
      if (options_.vnorm) scores[j] = (scores[j] + options_.epsilon) * norms[j];
    }
    return scores;
  }

  static void add_softmax(std::span<float> exponents, std::span<float> to) {
    if (exponents.empty()) return;
    const float top = *std::max_element(exponents.begin(), exponents.end());
    double sum = 0;
    for (float& e : exponents) sum += e = std::exp(e - top);
    for (size_t j = 0; j < to.size(); j++) to[j] += static_cast<float>(exponents[j] / sum);
  }

  MomentOptions options_;
};

std::unique_ptr<Scorer> make_expected_attention(const Parameters& given) {
  return std::make_unique<ExpectedAttention>(
      MomentOptions{.future = given.integer("future"),
                    .skip = given.integer("skip"),
                    .covariance = given.integer("covariance") != 0,
                    .vnorm = given.integer("vnorm") != 0,
                    .epsilon = static_cast<float>(given.get("epsilon"))});
}

}  // namespace

ScorerPart expected_attention_scorer() {
  return {.name = "expected-attention",
          .paper = "arXiv 2510.00636",
          .description = "Attention that queries like the context's would pay; costs a second pass over it.",
          .parameters = {{.name = "future",
                          .value = 512,
                          .description = "positions to come that the queries are expected at",
                          .minimum = 1,
                          .maximum = 1 << 20},
                         {.name = "skip",
                          .value = 4,
                          .description = "first tokens left out of the statistics and the softmax",
                          .maximum = 1 << 24},
                         {.name = "covariance",
                          .value = 1,
                          .description = "whether the queries' spread counts, or their mean alone",
                          .maximum = 1,
                          .choices = {"no", "yes"}},
                         {.name = "vnorm",
                          .value = 1,
                          .description = "whether scores are times the values' norms",
                          .maximum = 1,
                          .choices = {"no", "yes"}},
                         {.name = "epsilon",
                          .value = 0,
                          .description = "added to the attention before that; above 1/entries it hides it",
                          .maximum = 1,
                          .whole = false}},
          .make = make_expected_attention};
}

}  // namespace kvedit
