#include "train/lkv_example.h"

#include <numeric>

#include "evict/policy.h"

namespace kvedit::train {
namespace {

// A pass over tokens at the cache's next positions, whose last `window` queries are kept.
struct LkvPass {
  std::vector<Position> positions;
  Captures captures;
  std::vector<float> logits;

  LkvPass(Engine& engine, Cache& cache, std::span<const Token> tokens, Logits wanted, int window)
      : positions(tokens.size()) {
    std::iota(positions.begin(), positions.end(), cache.last_position() + 1);
    cache.append(positions);
    Run run{.cache = &cache, .tokens = tokens, .positions = positions, .logits = wanted};
    run.captures = &captures;
    run.record.window_queries = window;
    logits = engine.forward({&run, 1}).front();
  }
};

// [layer] [kv_heads, entries]: logarithms, of the first `entries` of each lane.
std::vector<Tensor> log_scores(const Policy& policy, const LkvPass& pass, const Cache& cache,
                               const Network& network, int64_t entries) {
  const auto window = std::span(pass.positions).last(pass.captures.tokens);
  std::vector<Tensor> all;
  for (int layer = 0; layer < cache.layers(); layer++) {
    const LayerScores of_layer = policy.scorer->score({layer, cache, network, pass.captures, 0, window});
    Tensor& scores = all.emplace_back(torch::empty({cache.kv_heads(), entries}, torch::kFloat32));
    for (int head = 0; head < cache.kv_heads(); head++)
      std::copy_n(of_layer[head].begin(), entries, scores.data_ptr<float>() + head * entries);
    scores = scores.clamp_min(1e-12).log();
  }
  return all;
}

}  // namespace

LkvExample read_example(ModelImpl& model, const LkvText& example, const GivenScores& given) {
  const Network& network = model.network();
  const ModelImpl::Lease engine(model);
  Cache cache = model.new_cache();
  const auto context = std::span(example.context).first(example.context.size() - 1);
  std::vector<Token> next = {example.context.back()};
  next.insert(next.end(), example.continuation.begin(), example.continuation.end() - 1);

  Policy policy;
  int window = 0;
  if (!given.policy.empty()) {
    policy = make_policy(given.policy);
    window = given.of_future ? static_cast<int>(next.size()) : policy.needs().window_queries;
  }
  LkvExample read;
  const LkvPass past(*engine, cache, context, Logits::none, given.of_future ? 0 : window);
  const auto entries = static_cast<int64_t>(context.size());
  if (window > 0 && !given.of_future) read.scores = log_scores(policy, past, cache, network, entries);
  read.entries = entries_of(cache, {0, static_cast<Position>(entries)});
  const LkvPass future(*engine, cache, next, Logits::all, given.of_future ? window : 0);
  if (given.of_future) read.scores = log_scores(policy, future, cache, network, entries);
  read.batch = make_batch(next, future.positions);
  const auto rows = static_cast<int64_t>(next.size());
  read.full = torch::tensor(future.logits).view({rows, -1}).log_softmax(-1);
  return read;
}

Tensor mean_kl(const Tensor& full, const Tensor& logits) {
  return (full.exp() * (full - logits.log_softmax(-1))).sum(-1).mean();
}

}  // namespace kvedit::train
