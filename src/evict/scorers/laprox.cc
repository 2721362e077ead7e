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
#include "evict/window_scores.h"

namespace kvedit {
namespace {

enum class Normalise { layer_sum, output_norm, none };

struct Options {
  WindowOptions window;
  bool l1;  // of the attention's column, over the window
  Normalise normalise;
  float near = 1;  // times what is pooled; below 1 an entry's own term counts beside it
};

using Pairs = std::vector<std::pair<int, int>>;  // of query heads of a group

Pairs pairs_of(int group) {
  Pairs pairs;
  for (int a = 0; a < group; a++) {
    for (int b = a; b < group; b++) pairs.emplace_back(a, b);
  }
  return pairs;
}

// [pairs][size] <A_a[:,j], A_b[:,j]> over the window's queries.
std::vector<float> column_products(const WindowAttention& attention, const Pairs& pairs, int size) {
  std::vector<float> products(pairs.size() * size);
  attention.for_pages([&](int first, int count, std::span<const float> weights) {
    for (size_t p = 0; p < pairs.size(); p++) {
      float sums[kPageEntries] = {};
      for (int t = 0; t < attention.tokens(); t++) {
        const float* row = &weights[static_cast<size_t>(t) * attention.group() * kPageEntries];
        const float* a = row + static_cast<size_t>(pairs[p].first) * kPageEntries;
        const float* b = row + static_cast<size_t>(pairs[p].second) * kPageEntries;
        for (int c = 0; c < kPageEntries; c++) sums[c] += a[c] * b[c];
      }
      std::copy_n(sums, count, &products[p * size + first]);
    }
  });
  return products;
}

// [group][size] |A_h[:,j]|, L2 or L1.
std::vector<float> column_norms(const WindowAttention& attention, bool l1, int size) {
  if (l1) {
    auto norms = window_means(attention, size);
    for (float& x : norms) x *= static_cast<float>(attention.tokens());
    return norms;
  }
  Pairs same;
  for (int h = 0; h < attention.group(); h++) same.emplace_back(h, h);
  auto norms = column_products(attention, same, size);
  for (float& x : norms) x = std::sqrt(x);
  return norms;
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

  float of(const std::vector<float>& projection) const {
    const size_t width = static_cast<size_t>(h_.heads) * h_.value_dim;
    TimesColumns times(h_.d_model, static_cast<int>(width));
    double squares = 0;
    for (size_t block = 0; block < outputs_.size(); block += kPageEntries * width) {
      const float* product = times(projection.data(), &outputs_[block]);
      for (int i = 0; i < h_.d_model * kPageEntries; i++) squares += double{product[i]} * product[i];
    }
    return static_cast<float>(std::sqrt(squares));
  }

 private:
  const Hparams& h_;
  std::vector<bool> added_;
  std::vector<float> outputs_;  // [tokens, rounded up to 64][heads * value_dim]
};

class Laprox : public Scorer {
 public:
  explicit Laprox(const Options& options) : options_(options) {}

  Needs needs() const override { return {.window_queries = options_.window.window}; }

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
      by = output.of(output_projection(view.network, view.layer));
    }
    if (!(by > 0)) return scores;
    for (auto& lane : scores) {
      for (float& s : lane) s = static_cast<float>(s / by);
    }
    return scores;
  }

 protected:
  // [lane.size], not pooled
  virtual std::vector<float> terms(const LayerView& view, const WindowAttention& attention,
                                   const Competing& lane) const {
    const PageShape& shape = view.cache.pool()->shape();
    const auto all = OutputGrams::of(view.network).heads(view.layer);
    const size_t group = attention.group();
    const size_t of_lane = group * shape.value_dim * shape.value_dim;
    const auto rows =
        quadratic_forms(attention.pages(), shape, all.subspan(lane.head * of_lane, of_lane), lane.size);
    const auto columns = column_norms(attention, options_.l1, lane.size);
    std::vector<float> terms(lane.size);
    for (size_t i = 0; i < rows.size(); i++) {
      terms[i % lane.size] += columns[i] * std::sqrt(std::max(0.0F, rows[i])) / static_cast<float>(group);
    }
    return terms;
  }

 private:
  Options options_;
};

class LaproxJoint final : public Laprox {
 public:
  using Laprox::Laprox;

 private:
  std::vector<float> terms(const LayerView& view, const WindowAttention& attention,
                           const Competing& lane) const override {
    const PageShape& shape = view.cache.pool()->shape();
    const auto all = OutputGrams::of(view.network).pairs(view.layer);
    const Pairs pairs = pairs_of(attention.group());
    const size_t of_lane = pairs.size() * shape.value_dim * shape.value_dim;
    const auto rows =
        quadratic_forms(attention.pages(), shape, all.subspan(lane.head * of_lane, of_lane), lane.size);
    const auto columns = column_products(attention, pairs, lane.size);
    std::vector<float> terms(lane.size);
    for (size_t p = 0; p < pairs.size(); p++) {
      const float times = pairs[p].first == pairs[p].second ? 1.0F : 2.0F;  // (h, h') and (h', h)
      for (int j = 0; j < lane.size; j++) {
        terms[j] += times * columns[p * lane.size + j] * rows[p * lane.size + j];
      }
    }
    for (float& s : terms) s = std::sqrt(std::max(0.0F, s));
    return terms;
  }
};

PolicyParameter normalise_parameter(Normalise normalise) {
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
  std::vector<PolicyParameter> parameters = window_parameters(32, 7, Pooling::average);
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
            return std::make_unique<Laprox>(Options{WindowOptions(p), p.integer("norm") == 1, normalise(p)});
          }};
}

ScorerPart laprox_joint_scorer() {
  std::vector<PolicyParameter> parameters = window_parameters(32, 11, Pooling::maximum);
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
            return std::make_unique<LaproxJoint>(
                Options{WindowOptions(p), false, normalise(p), static_cast<float>(p.get("near"))});
          }};
}

}  // namespace kvedit
