#include "train/transformer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>

#include "train/checkpoint.h"

namespace kvedit::train {
namespace {

enum TargetIndex : size_t { kQ, kK, kV, kO, kGate, kUp, kDown };  // kLoraTargets

Tensor norm(const Tensor& x, const Tensor& weight, double epsilon) {
  return x * torch::rsqrt(x.square().mean(-1, true) + epsilon) * weight;
}

// cosines and sines [n, dims / 2] of the rotations at `positions`, YaRN's factor included.
std::pair<Tensor, Tensor> angles(const Tensor& positions, const Rope& rope) {
  const int64_t n = positions.numel();
  const auto pairs = static_cast<int64_t>(rope.frequencies.size());
  Tensor cosines = torch::empty({n, pairs}, torch::kFloat32);
  Tensor sines = torch::empty({n, pairs}, torch::kFloat32);
  const auto* at = positions.data_ptr<int64_t>();
  for (int64_t i = 0; i < n; i++) {
    rope.turn(static_cast<Position>(at[i]),
              {cosines.data_ptr<float>() + i * pairs, static_cast<size_t>(pairs)},
              {sines.data_ptr<float>() + i * pairs, static_cast<size_t>(pairs)});
  }
  return {cosines * rope.magnitude, sines * rope.magnitude};
}

// x [heads, n, dim]; dimensions past the rope's stay.
Tensor turned(const Tensor& x, const Tensor& cosines, const Tensor& sines, const Rope& rope) {
  const int dims = rope.dims();
  const Tensor part = x.narrow(-1, 0, dims);
  const Tensor pairs = rope.neox ? part.unflatten(-1, {2, dims / 2}).transpose(-1, -2)
                                 : part.unflatten(-1, {dims / 2, 2});  // [heads, n, dims / 2, 2]
  const Tensor a = pairs.select(-1, 0);
  const Tensor b = pairs.select(-1, 1);
  const Tensor first = a * cosines - b * sines;
  const Tensor second = a * sines + b * cosines;
  const Tensor result =
      rope.neox ? torch::cat({first, second}, -1) : torch::stack({first, second}, -1).flatten(-2);
  return dims == x.size(-1) ? result : torch::cat({result, x.narrow(-1, dims, x.size(-1) - dims)}, -1);
}

// The additive mask [1 or kv_heads, 1, n, entries] of a batch; undefined where all is seen.
Tensor visibility(const Batch& batch, const Tensor& positions, const Tensor& owners, int window) {
  const Tensor from = positions.unsqueeze(1);                   // [heads, 1, entries]
  const Tensor to = batch.positions.unsqueeze(0).unsqueeze(2);  // [1, n, 1]
  Tensor hidden = from > to;
  if (window > 0) hidden = hidden.logical_or(from <= to - window);
  if (owners.defined() && batch.owners.defined())
    hidden = hidden.logical_or(owners.unsqueeze(0) != batch.owners.unsqueeze(1));
  if (!hidden.any().item<bool>()) return {};
  return torch::zeros(hidden.sizes(), torch::kFloat32)
      .masked_fill(hidden, -std::numeric_limits<float>::infinity())
      .unsqueeze(1);
}

// The inputs of a layer beside the hidden states.
struct LayerInputs {
  std::vector<LayerEntries> context;
  std::array<LowRankTensors, kLoraTargets.size()> lora;

  // Those that take a gradient, to be read and to be replaced.
  std::vector<Tensor*> leaves() {
    std::vector<Tensor*> all;
    const auto add = [&](Tensor& t) {
      if (t.defined() && t.requires_grad()) all.push_back(&t);
    };
    for (LayerEntries& entries : context) {
      for (Tensor* t : {&entries.keys, &entries.values, &entries.bias}) add(*t);
    }
    for (LowRankTensors& update : lora) {
      for (Tensor* t : {&update.a, &update.b}) add(*t);
    }
    return all;
  }
};

// The inputs that all layers of a pass share.
class Pass {
 public:
  Pass(const Weights& weights, const Batch& batch, const PassOptions& options)
      : weights_(weights), batch_(batch), options_(options), own_positions_(batch.positions.unsqueeze(0)) {}

  // The layer's input x [n, d_model]; its output, or nothing where the pass ends with keys and values.
  struct Step {
    Tensor x, keys, values;
  };
  Step layer(int index, const Tensor& x, const LayerInputs& inputs) {
    const Hparams& h = weights_.hparams();
    const LayerTensors& w = weights_.layers[index];
    const int64_t n = x.size(0);
    const Tensor input = norm(x, w.attention_norm, h.norm_epsilon);
    const Rope& rope = (*h.ropes)[index];
    const auto& [cosines, sines] = angles_of(rope);
    const auto heads_of = [&](size_t target, const Tensor& weight, const Tensor& bias,
                              const Tensor& head_norm, int heads, int dim) {
      Tensor y = project(inputs.lora[target], input, weight);
      if (bias.defined()) y = y + bias;
      y = y.view({n, heads, dim}).transpose(0, 1);  // [heads, n, dim]
      return head_norm.defined() ? norm(y, head_norm, h.norm_epsilon) : y;
    };
    Step step;
    step.keys = turned(heads_of(kK, w.wk, w.bk, w.k_norm, h.kv_heads, h.key_dim), cosines, sines, rope);
    step.values = heads_of(kV, w.wv, w.bv, {}, h.kv_heads, h.value_dim);
    if (options_.entries_only && index + 1 == h.layers) return step;

    const Tensor queries =
        turned(heads_of(kQ, w.wq, w.bq, w.q_norm, h.heads, h.key_dim), cosines, sines, rope) *
        h.attention_scale;
    Tensor y = project(inputs.lora[kO], attention(index, queries, step, inputs.context), w.wo);
    if (w.post_attention_norm.defined()) y = norm(y, w.post_attention_norm, h.norm_epsilon);
    const Tensor middle = x + y;
    const Tensor inner = norm(middle, w.ffn_norm, h.norm_epsilon);
    const Tensor gate = project(inputs.lora[kGate], inner, w.gate);
    const Tensor active = h.activation == Activation::silu ? torch::silu(gate) : gelu(gate);
    y = project(inputs.lora[kDown], active * project(inputs.lora[kUp], inner, w.up), w.down);
    if (w.post_ffn_norm.defined()) y = norm(y, w.post_ffn_norm, h.norm_epsilon);
    step.x = middle + y;
    return step;
  }

 private:
  // tanh form, as served
  static Tensor gelu(const Tensor& x) {
    constexpr double kRoot = 0.7978845608028654;  // sqrt(2 / pi)
    return 0.5 * x * (1 + torch::tanh(kRoot * (x + 0.044715 * x * x * x)));
  }

  Tensor project(const LowRankTensors& update, const Tensor& x, const Tensor& weight) const {
    Tensor y = torch::matmul(x.to(weights_.products), weight.t()).to(torch::kFloat32);
    if (!update.a.defined()) return y;
    return y + torch::matmul(torch::matmul(x, update.a.t()), update.b.t()) * options_.lora->scale();
  }

  // queries [heads, n, key_dim], scaled -> [n, heads * value_dim]
  Tensor attention(int layer, const Tensor& queries, const Step& own,
                   const std::vector<LayerEntries>& context) {
    const Hparams& h = weights_.hparams();
    const int64_t n = queries.size(1);
    const int window = h.window_of(layer);
    const Tensor rows = queries.reshape({h.kv_heads, h.group() * n, h.key_dim});
    std::vector<Tensor> scores, values;
    std::vector<int64_t> sizes;
    const auto add = [&](const LayerEntries& entries, const Tensor& mask) {
      Tensor s = torch::matmul(rows, entries.keys.transpose(1, 2));  // [kv_heads, group * n, entries]
      if (entries.bias.defined()) s = s + entries.bias.unsqueeze(1);
      if (mask.defined()) s = (s.unflatten(1, {h.group(), n}) + mask).flatten(1, 2);
      scores.push_back(s);
      values.push_back(entries.values);
      sizes.push_back(s.size(-1));
    };
    for (const LayerEntries& entries : context) {
      if (entries.keys.size(1) > 0) add(entries, mask_of(entries.positions, entries.owners, window));
    }
    add({own.keys, own.values, {}, {}, {}}, mask_of(own_positions_, batch_.owners, window));
    const std::vector<Tensor> parts =
        torch::split_with_sizes(torch::softmax(torch::cat(scores, -1), -1), sizes, -1);
    Tensor sum = torch::matmul(parts[0], values[0]);
    for (size_t i = 1; i < parts.size(); i++) sum = sum + torch::matmul(parts[i], values[i]);
    return sum.view({h.heads, n, h.value_dim}).transpose(0, 1).reshape({n, h.heads * h.value_dim});
  }

  const std::pair<Tensor, Tensor>& angles_of(const Rope& rope) {
    for (const auto& [known, made] : angles_) {
      if (known->frequencies == rope.frequencies && known->magnitude == rope.magnitude) return made;
    }
    auto [cosines, sines] = angles(batch_.positions, rope);
    angles_.emplace_back(&rope, std::pair{cosines.to(weights_.device()), sines.to(weights_.device())});
    return angles_.back().second;
  }

  // Layers of one segment mostly share their positions' tensor, and so the mask.
  const Tensor& mask_of(const Tensor& positions, const Tensor& owners, int window) {
    const auto [found, fresh] = masks_.try_emplace({positions.unsafeGetTensorImpl(), window});
    if (fresh) {
      const Tensor mask = visibility(batch_, positions, owners, window);
      if (mask.defined()) found->second = mask.to(weights_.device());
    }
    return found->second;
  }

  const Weights& weights_;
  const Batch batch_;
  const PassOptions options_;
  Tensor own_positions_;
  std::vector<std::pair<const Rope*, std::pair<Tensor, Tensor>>> angles_;
  std::map<std::pair<const void*, int>, Tensor> masks_;
};

// The layer, its activations computed again for the gradient.
Pass::Step again(const std::shared_ptr<Pass>& pass, int index, const Tensor& x, LayerInputs inputs) {
  Tensors arguments = {x};
  for (const Tensor* leaf : inputs.leaves()) arguments.push_back(*leaf);
  const auto layer = [pass, index, inputs](const Tensors& now) {
    LayerInputs replaced = inputs;
    const std::vector<Tensor*> leaves = replaced.leaves();
    for (size_t i = 0; i < leaves.size(); i++) *leaves[i] = now[i + 1];
    const Pass::Step step = pass->layer(index, now[0], replaced);
    return step.x.defined() ? Tensors{step.keys, step.values, step.x} : Tensors{step.keys, step.values};
  };
  const Tensors made = checkpointed(layer, arguments);
  return {made.size() > 2 ? made[2] : Tensor(), made[0], made[1]};
}

}  // namespace

PassResult forward(const Weights& weights, const Batch& batch, std::span<const Entries* const> context,
                   const PassOptions& options) {
  const Hparams& h = weights.hparams();
  const auto pass = std::make_shared<Pass>(weights, batch, options);
  const Tensor positions = batch.positions.unsqueeze(0);
  Tensor x = torch::embedding(weights.embedding, batch.tokens) * h.embedding_scale;
  PassResult result;
  for (int i = 0; i < h.layers; i++) {
    LayerInputs inputs;
    for (const Entries* segment : context) inputs.context.push_back((*segment)[i]);
    if (options.lora != nullptr) inputs.lora = options.lora->layers[i];
    const Pass::Step step = options.checkpoint && torch::GradMode::is_enabled() ? again(pass, i, x, inputs)
                                                                                : pass->layer(i, x, inputs);
    x = step.x;
    result.entries.push_back({step.keys, step.values, positions, {}, {}});
  }
  if (x.defined()) result.hidden = norm(x, weights.output_norm, h.norm_epsilon);
  return result;
}

Tensor logits(const Weights& weights, const Tensor& hidden) {
  const double cap = weights.hparams().logit_softcap;
  const Tensor raw = torch::matmul(hidden, weights.output.t());
  return cap == 0 ? raw : torch::tanh(raw / cap) * cap;
}

Batch make_batch(std::span<const Token> tokens, std::span<const Position> positions, torch::Device device) {
  const std::vector<int64_t> wide_tokens(tokens.begin(), tokens.end());
  const std::vector<int64_t> wide_positions(positions.begin(), positions.end());
  return {
      torch::tensor(wide_tokens, torch::kInt64).to(device), torch::tensor(wide_positions, torch::kInt64), {}};
}

Entries entries_of(const Cache& cache, Span positions, torch::Device device) {
  const int64_t key_dim = cache.pool()->shape().key_dim;
  const int64_t value_dim = cache.pool()->shape().value_dim;
  Entries all;
  for (int layer = 0; layer < cache.layers(); layer++) {
    std::vector<std::vector<Position>> held(cache.kv_heads());
    std::vector<int> first(cache.kv_heads());
    int64_t longest = 0;
    for (int head = 0; head < cache.kv_heads(); head++) {
      const std::vector<Position> lane = cache.lane(layer, head).positions();
      const auto begin = std::lower_bound(lane.begin(), lane.end(), positions.begin);
      const auto end = std::lower_bound(begin, lane.end(), positions.end);
      held[head].assign(begin, end);
      first[head] = static_cast<int>(begin - lane.begin());
      longest = std::max<int64_t>(longest, end - begin);
    }
    const bool shared = std::all_of(held.begin(), held.end(), [&](const auto& h) { return h == held[0]; });
    LayerEntries entries{torch::zeros({cache.kv_heads(), longest, key_dim}),
                         torch::zeros({cache.kv_heads(), longest, value_dim}),
                         torch::full({shared ? 1 : cache.kv_heads(), longest}, kPadding, torch::kInt64),
                         {},
                         {}};
    for (int head = 0; head < cache.kv_heads(); head++) {
      const auto n = static_cast<int>(held[head].size());
      cache.lane(layer, head)
          .read(first[head], first[head] + n,
                {entries.keys[head].data_ptr<float>(), static_cast<size_t>(n * key_dim)},
                {entries.values[head].data_ptr<float>(), static_cast<size_t>(n * value_dim)});
      if (!shared || head == 0)
        std::copy(held[head].begin(), held[head].end(), entries.positions[head].data_ptr<int64_t>());
    }
    // One tensor for all layers that agree, so that a pass makes its masks once.
    if (!all.empty() && torch::equal(all.back().positions, entries.positions))
      entries.positions = all.back().positions;
    entries.keys = entries.keys.to(device);
    entries.values = entries.values.to(device);
    all.push_back(std::move(entries));
  }
  return all;
}

Tensor rotate(const Tensor& x, const Tensor& positions, const Rope& rope, bool inverse) {
  const auto [cosines, sines] = angles(positions, rope);
  // The magnitude is part of a key; taking back divides by it.
  const float scale = inverse ? 1 / (rope.magnitude * rope.magnitude) : 1;
  return turned(x, cosines.to(x.device()) * scale, sines.to(x.device()) * (inverse ? -scale : scale), rope);
}

}  // namespace kvedit::train
