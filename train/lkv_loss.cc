#include "train/lkv_loss.h"

#include <torch/utils.h>

namespace kvedit::train {
namespace {

// Each lane's with mean 0 and deviation 1.
Tensor normalised_lanes(const Tensor& scores) {
  return (scores - scores.mean(1, true)) / scores.std(1, false, true).clamp_min(1e-6);
}

std::vector<Tensor> learned_scores(const Hparams& hparams, const LkvTensors& lkv, const LkvExample& example) {
  std::vector<Tensor> scores;
  for (int layer = 0; layer < hparams.layers; layer++) {
    scores.push_back(lkv_scores(lkv, layer, lkv_features(example.entries[layer], (*hparams.ropes)[layer])));
  }
  return scores;
}

}  // namespace

Tensor distillation_loss(const Weights& weights, const LkvTensors& lkv, const LkvParts& parts,
                         const LkvExample& example, const Keep& keep, double temperature) {
  const Hparams& h = weights.hparams();
  std::vector<Tensor> scores;
  if (parts.scores) scores = learned_scores(h, lkv, example);
  for (size_t i = 0; !parts.scores && i < example.scores.size(); i++)
    scores.push_back(normalised_lanes(example.scores[i]));
  const Tensor logits_of_lanes =
      parts.budgets ? lkv.budget_logits() : torch::zeros_like(lkv.budgets).detach();
  const std::vector<Tensor> bias = soft_selection(h, scores, logits_of_lanes, keep, temperature);
  Entries entries = example.entries;
  for (size_t i = 0; i < entries.size(); i++) entries[i].bias = bias[i];
  const Entries* const context[] = {&entries};
  return mean_kl(example.full, logits(weights, forward(weights, example.batch, context).hidden));
}

Tensor imitation_loss(const Hparams& hparams, const LkvTensors& lkv, const LkvParts& parts,
                      const LkvExample& example, const Keep& keep) {
  const int64_t entries = example.scores[0].size(1);
  const std::vector<Candidates> layers = candidates(hparams, entries, keep);
  std::vector<Tensor> of_layers;  // the scores that compete, flat
  for (size_t i = 0; i < layers.size(); i++)
    of_layers.push_back(example.scores[i].slice(1, layers[i].begin, layers[i].end));
  Tensor loss = torch::zeros({});
  if (parts.scores) {
    const std::vector<Tensor> learned = learned_scores(hparams, lkv, example);
    for (size_t i = 0; i < layers.size(); i++) {
      if (layers[i].begin == layers[i].end) continue;
      const Tensor mine = learned[i].slice(1, layers[i].begin, layers[i].end);
      const Tensor error = mine - mine.mean(1, true) - normalised_lanes(of_layers[i]);
      loss = loss + error.square().mean() / static_cast<double>(layers.size());
    }
  }
  if (parts.budgets) {
    Tensor shares;
    {
      const torch::NoGradGuard constants;
      std::vector<Tensor> flat;
      for (const Tensor& scores : of_layers) flat.push_back(scores.flatten());
      const auto budget = static_cast<int64_t>(candidate_budget(hparams, entries, keep));
      const Tensor least = std::get<0>(torch::cat(flat).topk(budget)).min();
      std::vector<Tensor> counts;
      for (const Tensor& scores : of_layers) counts.push_back((scores >= least).sum(1));
      shares = torch::cat(counts).to(torch::kFloat32);
      shares = shares / shares.sum();
    }
    loss = loss - (shares * lkv.budget_logits().log_softmax(0)).sum();
  }
  return loss;
}

}  // namespace kvedit::train
