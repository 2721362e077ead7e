// LaProx (arXiv 2605.07234): a layer's attention output is one matrix product over all its heads,
// O = [A_1 ... A_H] [V_1 W_1; ...; V_H W_H], W_h the slice of the output projection of query head h. The
// column-row approximation of a product keeps the pairs with the largest |column| |row|. With A_h[:,j] the
// attention of the last w queries to entry j, algorithm 1 is
//
//   laprox        p(g, j) = mean over query heads h of group g of |A_h[:,j]|_2 |v_j W_h|_2
//
// pooled along the lane, divided by the sum over the layer; algorithm 2 is one top-k over the whole model,
// the allocator `global`. An entry serves all query heads of its group, so its part of the product is
//
//   laprox-joint  p(g, j) = |sum_h A_h[:,j] (v_j W_h)|_F
//                         = sqrt( sum_h,h' <A_h[:,j], A_h'[:,j]> v_j W_h W_h'^T v_j^T ),
//
// exactly, through Grams across heads (output_projection.h). What is pooled there is only a share of what an
// entry has of its own,
//
//   s(g, j) = max( p(g, j), near max_|i-j|<=kernel/2 p(g, i) )  (or the mean in place of the inner maximum),
//
// so that a peak holds on to what stands around it - the digits after the one that was attended to - while a
// small budget still goes to peaks first. That and its defaults are our own.
#include <algorithm>
#include <cmath>
#include <utility>

#include "evict/output_projection.h"
#include "evict/parts.h"
#include "evict/scorers/window_scores.h"

namespace kvedit {
namespace {

enum class Normalise { layer_sum, output_norm, none };

struct LaproxOptions {
  WindowOptions window;
  Normalise normalise;
  bool joint = false;  // of the group's heads, or head by head
  bool l1 = false;     // of the attention's column, over the window, head by head
  float near = 1;      // times what is pooled; below 1 an entry's own term counts beside it
};

HeadPairs all_pairs(int group) {
  HeadPairs pairs;
  for (int a = 0; a < group; a++) {
    for (int b = a; b < group; b++) pairs.emplace_back(a, b);
  }
  return pairs;
}

HeadPairs same_heads(int group) {
  HeadPairs pairs;
  for (int h = 0; h < group; h++) pairs.emplace_back(h, h);
  return pairs;
}

// <A_a[:,j], A_b[:,j]> over the window's queries, for the entries j of a page; weights [tokens * group][64].
void column_products(const WindowAttention& attention, std::span<const float> weights, int a, int b,
                     float* to) {
  std::fill_n(to, kPageEntries, 0.0F);
  for (int t = 0; t < attention.tokens(); t++) {
    const float* row = &weights[static_cast<size_t>(t) * attention.group() * kPageEntries];
    const float* x = row + static_cast<size_t>(a) * kPageEntries;
    const float* y = row + static_cast<size_t>(b) * kPageEntries;
    for (int c = 0; c < kPageEntries; c++) to[c] += x[c] * y[c];
  }
}

// |A_h[:,j]|, L2 or L1.
void column_norms(const WindowAttention& attention, std::span<const float> weights, int head, bool l1,
                  float* to) {
  if (!l1) {
    column_products(attention, weights, head, head, to);
    for (int c = 0; c < kPageEntries; c++) to[c] = std::sqrt(to[c]);
    return;
  }
  std::fill_n(to, kPageEntries, 0.0F);
  for (int t = 0; t < attention.tokens(); t++) {
    const float* row = &weights[(static_cast<size_t>(t) * attention.group() + head) * kPageEntries];
    for (int c = 0; c < kPageEntries; c++) to[c] += row[c];
  }
}

// The norm of the layer's output over the window, |sum_h o_h W_h|_F, from the outputs of its KV heads.
class OutputNorm {
 public:
  explicit OutputNorm(const Hparams& hparams) : h_(hparams), added_(hparams.kv_heads) {}

  bool added(int kv_head) const { return added_[kv_head]; }
  void add(const WindowAttention& attention, int kv_head) {
    const size_t width = static_cast<size_t>(h_.heads) * h_.value_dim;
    const size_t part = static_cast<size_t>(h_.group()) * h_.value_dim;
    added_[kv_head] = true;
    const size_t blocks = (attention.tokens() + kPageEntries - 1) / kPageEntries;
    outputs_.resize(blocks * kPageEntries * width);  // zeros past the window
    for (int t = 0; t < attention.tokens(); t++) {
      std::copy_n(&attention.outputs()[t * part], part, &outputs_[t * width + kv_head * part]);
    }
  }

  float of(OutputRows projection) const {
    const int width = h_.heads * h_.value_dim;
    double squares = 0;
    std::vector<float> rows;  // some of the projection
    for (int first = 0; first < h_.d_model; first += kRows) {
      const int count = std::min(kRows, h_.d_model - first);
      rows.clear();
      for (int i = first; i < first + count; i++) {
        const float* row = projection.row(i, 0, width);
        rows.insert(rows.end(), row, row + width);
      }
      TimesColumns times(count, width);
      for (size_t block = 0; block < outputs_.size(); block += static_cast<size_t>(kPageEntries) * width) {
        const float* product = times(rows.data(), &outputs_[block]);
        for (int i = 0; i < count * kPageEntries; i++) squares += double{product[i]} * product[i];
      }
    }
    return static_cast<float>(std::sqrt(squares));
  }

 private:
  static constexpr int kRows = 64;  // at a time

  const Hparams& h_;
  std::vector<bool> added_;
  std::vector<float> outputs_;  // [tokens, rounded up to 64][heads * value_dim]
};

class Laprox final : public Scorer {
 public:
  explicit Laprox(const LaproxOptions& options) : options_(options) {}

  CaptureRequest needs() const override { return {.window_queries = options_.window.window}; }

  LayerScores score(const LayerView& view) const override {
    OutputNorm output(view.network.hparams());
    double sum = 0;
    LayerScores scores = window_scores(
        view, options_.window.window, [&](const WindowAttention& attention, const Competing& lane) {
          if (options_.normalise == Normalise::output_norm) output.add(attention, lane.head);
          const auto terms = this->terms(view, attention, lane);
          auto pooled = pool(std::span(terms).subspan(lane.begin, lane.end - lane.begin),
                             options_.window.kernel, options_.window.pooling);
          for (size_t j = 0; options_.near < 1 && j < pooled.size(); j++) {
            pooled[j] = std::max(terms[lane.begin + j], options_.near * pooled[j]);
          }
          for (const float s : pooled) sum += s;
          return pooled;
        });
    double by = 1;
    if (options_.normalise == Normalise::layer_sum) by = sum;
    if (options_.normalise == Normalise::output_norm) {
      for (int head = 0; head < view.cache.kv_heads(); head++) {  // those where nothing competes
        if (!output.added(head)) output.add({view, head, options_.window.window}, head);
      }
      by = output.of({view.network, view.layer});
    }
    if (!(by > 0)) return scores;
    for (auto& lane : scores) {
      for (float& s : lane) s = static_cast<float>(s / by);
    }
    return scores;
  }

 private:
  // [lane.size], not pooled
  std::vector<float> terms(const LayerView& view, const WindowAttention& attention,
                           const Competing& lane) const {
    const int group = attention.group();
    const HeadPairs pairs = options_.joint ? all_pairs(group) : same_heads(group);
    QuadraticForms forms(output_grams(view.network, view.layer, lane.head, pairs),
                         view.cache.pool()->shape());
    std::vector<float> terms(lane.size);
    auto page = attention.pages().begin();
    attention.for_pages([&](int first, int count, std::span<const float> weights) {
      const float* form = forms.of(**page++);
      float columns[kPageEntries];
      for (const auto& [a, b] : pairs) {
        if (options_.joint) {
          const float times = a == b ? 1.0F : 2.0F;  // (a, b) and (b, a)
          column_products(attention, weights, a, b, columns);
          for (int c = 0; c < count; c++) terms[first + c] += times * columns[c] * form[c];
        } else {
          column_norms(attention, weights, a, options_.l1, columns);
          for (int c = 0; c < count; c++) {
            terms[first + c] += columns[c] * std::sqrt(std::max(0.0F, form[c])) / static_cast<float>(group);
          }
        }
        form += kPageEntries;
      }
    });
    if (options_.joint) {
      for (float& s : terms) s = std::sqrt(std::max(0.0F, s));
    }
    return terms;
  }

  LaproxOptions options_;
};

Parameter normalise_parameter(Normalise normalise) {
  return {.name = "normalise",
          .value = static_cast<double>(normalise),
          .description = "what a layer's scores are divided by: their sum, the norm of its output, nothing",
          .maximum = 2,
          .choices = {"layer_sum", "output_norm", "none"}};
}

Normalise normalise(const Parameters& parameters) {
  return static_cast<Normalise>(parameters.integer("normalise"));
}

}  // namespace

ScorerPart laprox_scorer() {
  std::vector<Parameter> parameters = window_parameters(32, 7, Pooling::average);
  parameters.push_back({.name = "norm",
                        .value = 0,
                        .description = "of an entry's column of attention",
                        .maximum = 1,
                        .choices = {"l2", "l1"}});
  parameters.push_back(normalise_parameter(Normalise::layer_sum));
  return {.name = "laprox",
          .paper = "arXiv 2605.07234",
          .description = "Norm of an entry's attention column times norm of its projected value.",
          .parameters = std::move(parameters),
          .make = [](const Parameters& p) -> std::unique_ptr<Scorer> {
            return std::make_unique<Laprox>(LaproxOptions{
                .window = WindowOptions(p), .normalise = normalise(p), .l1 = p.integer("norm") == 1});
          }};
}

ScorerPart laprox_joint_scorer() {
  std::vector<Parameter> parameters = window_parameters(32, 11, Pooling::maximum);
  parameters.push_back({.name = "near",
                        .value = 0.5,
                        .description = "share of what is pooled that an entry gets, if more than its own",
                        .maximum = 1,
                        .whole = false});
  parameters.push_back(normalise_parameter(Normalise::output_norm));
  return {.name = "laprox-joint",
          .paper = "",
          .description = "LaProx with the exact norm of an entry's part of the output of its group's heads.",
          .parameters = std::move(parameters),
          .make = [](const Parameters& p) -> std::unique_ptr<Scorer> {
            return std::make_unique<Laprox>(LaproxOptions{.window = WindowOptions(p),
                                                          .normalise = normalise(p),
                                                          .joint = true,
                                                          .near = static_cast<float>(p.get("near"))});
          }};
}

}  // namespace kvedit
