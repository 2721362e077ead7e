#include "train/lkv_selection.h"

#include <algorithm>
#include <cmath>

#include "train/soft_top_k.h"

namespace kvedit::train {

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
