#include "train/lkv_selection.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kvedit::train {
namespace {

constexpr double kLeast = 1e-3;  // a count is kept this far from 0 and n, where tau is infinite
constexpr int kHalvings = 60;    // of the interval around tau, in double: to the last bit that counts

// tau [lanes][1] by bisection; scores and counts in double.
Tensor threshold(const Tensor& scores, const Tensor& counts, double temperature) {
  // sigmoid(20) leaves 2e-9 of an entry: no count between kLeast and n - kLeast has its tau outside.
  Tensor low = std::get<0>(scores.min(1, true)) - 20 * temperature;
  Tensor high = std::get<0>(scores.max(1, true)) + 20 * temperature;
  for (int i = 0; i < kHalvings; i++) {
    const Tensor middle = (low + high) / 2;
    const Tensor too_many = ((scores - middle) / temperature).sigmoid().sum(1, true) > counts;
    low = torch::where(too_many, middle, low);
    high = torch::where(too_many, high, middle);
  }
  return (low + high) / 2;
}

}  // namespace

std::vector<Candidates> candidates(const Hparams& hparams, int64_t entries, const Keep& keep) {
  std::vector<Candidates> all;
  for (int layer = 0; layer < hparams.layers; layer++) {
    const int64_t window = hparams.window_of(layer);
    Candidates& c = all.emplace_back();
    c.reach = window > 0 ? std::max<int64_t>(0, entries + 1 - window) : 0;
    c.begin = window > 0 ? c.reach : std::min<int64_t>(keep.sinks, entries);
    c.end = std::max(c.begin, entries - std::min<int64_t>(keep.recent, entries - c.reach));
  }
  return all;
}

double candidate_budget(const Hparams& hparams, int64_t entries, const Keep& keep) {
  double reachable = 0, always = 0;
  for (const Candidates& c : candidates(hparams, entries, keep)) {
    reachable += static_cast<double>(hparams.kv_heads * (entries - c.reach));
    always += static_cast<double>(hparams.kv_heads * (entries - c.reach - (c.end - c.begin)));
  }
  return std::floor(keep.share * reachable + 1e-6) - always;
}

Tensor soft_keep(const Tensor& scores, const Tensor& counts, double temperature) {
  const auto n = static_cast<double>(scores.size(1));
  const Tensor whole = (counts >= n - kLeast).unsqueeze(1);
  const Tensor wanted = counts.detach().clamp(kLeast, n - kLeast).unsqueeze(1);
  const Tensor more = (counts - counts.detach()).unsqueeze(1);  // 0, with the counts' gradient
  Tensor tau, weights;
  {
    const torch::NoGradGuard constants;
    const Tensor exact = scores.to(torch::kDouble);
    const Tensor at = threshold(exact, wanted.to(torch::kDouble), temperature);
    const Tensor m = ((exact - at) / temperature).sigmoid();
    tau = at.to(scores.scalar_type());
    weights = (m * (1 - m)).to(scores.scalar_type());
  }
  // Its value is tau, its derivative the implicit function theorem's.
  const Tensor moved = (weights * (scores - scores.detach())).sum(1, true);
  const Tensor threshold = tau + (moved - temperature * more) / weights.sum(1, true).clamp_min(1e-12);
  const Tensor logs = torch::log_sigmoid((scores - threshold) / temperature);
  return logs.masked_fill(whole, 0);
}

Tensor learned_counts(const Tensor& logits, const std::vector<double>& room, double budget) {
  const auto lanes = static_cast<int64_t>(room.size());
  const Tensor shares = logits.softmax(0);
  Tensor rooms = torch::tensor(room, logits.options().requires_grad(false));
  Tensor full = torch::zeros({lanes}, torch::kBool);
  if (budget >= std::accumulate(room.begin(), room.end(), 0.0)) return rooms;
  while (true) {
    const Tensor open = shares.masked_fill(full, 0);
    const Tensor left = budget - rooms.masked_fill(full.logical_not(), 0).sum();
    Tensor counts = torch::where(full, rooms, left * open / open.sum());
    const Tensor filled = counts >= rooms;
    if (torch::equal(filled, full)) return counts;
    full = filled;
  }
}

std::vector<Tensor> soft_selection(const Hparams& hparams, const std::vector<Tensor>& scores,
                                   const Tensor& budget_logits, const Keep& keep, double temperature) {
  const int64_t entries = scores[0].size(1), heads = hparams.kv_heads;
  const std::vector<Candidates> layers = candidates(hparams, entries, keep);
  std::vector<double> room;
  for (const Candidates& c : layers) room.insert(room.end(), heads, static_cast<double>(c.end - c.begin));
  const Tensor counts = learned_counts(budget_logits, room, candidate_budget(hparams, entries, keep));
  std::vector<Tensor> all;
  for (size_t i = 0; i < layers.size(); i++) {
    const auto& [reach, begin, end] = layers[i];
    if (begin == end) {
      all.push_back(torch::zeros({heads, entries}, scores[i].options().requires_grad(false)));
      continue;
    }
    const Tensor bias = soft_keep(scores[i].slice(1, begin, end),
                                  counts.narrow(0, static_cast<int64_t>(i) * heads, heads), temperature);
    all.push_back(torch::constant_pad_nd(bias, {begin, entries - end}, 0));
  }
  return all;
}

}  // namespace kvedit::train
