#include "train/example.h"

#include <algorithm>
#include <cmath>

#include "context/edit.h"
#include "session/inspect.h"
#include "tools/text.h"

namespace kvedit::train {
namespace {

Session with(const Session& session, std::span<const Token> tokens) {
  Session longer = session.fork();
  if (!tokens.empty()) longer.append_tokens(tokens);
  return longer;
}

Session read(const std::shared_ptr<Model>& model, const Context& context) {
  Session session(model, {.undo_depth = 0});
  session.append_tokens(context.tokens);
  if (!context.policy.empty()) session.evict(context.policy, Budget::fraction(context.keep));
  return session;
}

std::vector<Token> joined(std::vector<Token> a, std::span<const Token> b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A probe whose answer is known: what is read before and after the erase, what is forced then, and the exact
// cache that has read all before it.
struct Forced {
  std::vector<Token> before, after, tokens;
  Session exact;
};

Forced force(const Probe& probe, const Session& exact) {
  Session ready = with(with(exact, probe.before), probe.after);
  if (!probe.forced.empty()) return {probe.before, probe.after, probe.forced, std::move(ready)};
  Session session = ready.fork();
  GenerateOptions options;
  options.max_tokens = probe.answer_tokens;
  const std::vector<Token> answer = session.generate(options).tokens;
  if (answer.empty()) fail(ErrorCode::unsupported, "train", "the model gave no answer");
  const auto early = std::span(answer).first(std::min<size_t>(probe.answer_before, answer.size() - 1));
  return {joined(probe.before, early),
          probe.after,
          {answer.begin() + static_cast<ptrdiff_t>(early.size()), answer.end()},
          with(ready, early)};
}

// Log-probabilities [forced][vocabulary] of a session that has read all before them.
Tensor forced_logs(const Session& ready, const std::vector<Token>& tokens) {
  const std::vector<float> logits = ready.logits_after(std::span(tokens).first(tokens.size() - 1));
  const auto rows = static_cast<int64_t>(tokens.size());
  const Tensor all =
      torch::from_blob(const_cast<float*>(logits.data()), {rows, static_cast<int64_t>(logits.size()) / rows});
  return torch::log_softmax(all, -1);
}

// -inf where a lane does not hold one of `positions`; empty where all hold them all.
Entries held_entries(const Cache& cache, std::span<const Position> positions, torch::Device device) {
  Entries all;
  bool complete = true;
  for (int layer = 0; layer < cache.layers(); layer++) {
    Tensor bias = torch::zeros({cache.kv_heads(), static_cast<int64_t>(positions.size())});
    for (int head = 0; head < cache.kv_heads(); head++) {
      for (size_t i = 0; i < positions.size(); i++) {
        if (cache.lane(layer, head).find(positions[i])) continue;
        bias[head][static_cast<int64_t>(i)] = -std::numeric_limits<float>::infinity();
        complete = false;
      }
    }
    all.push_back({{}, {}, {}, bias.to(device)});
  }
  return complete ? Entries() : all;
}

void append(Entries& to, const Entries& more, int64_t owner) {
  for (size_t layer = 0; layer < more.size(); layer++) {
    LayerEntries added = more[layer];
    added.owners = torch::full({added.keys.size(1)}, owner, torch::kInt64);
    if (to.size() <= layer) {
      to.push_back(std::move(added));
      continue;
    }
    LayerEntries& all = to[layer];
    all.keys = torch::cat({all.keys, added.keys}, 1);
    all.values = torch::cat({all.values, added.values}, 1);
    all.positions = torch::cat({all.positions, added.positions}, 1);
    all.owners = torch::cat({all.owners, added.owners});
  }
  for (size_t layer = 1; layer < to.size(); layer++) {  // one mask for all
    if (!torch::equal(to[layer].positions, to[0].positions)) continue;
    to[layer].positions = to[0].positions;
    to[layer].owners = to[0].owners;
  }
}

// Keeps the steering states that stay, and moves them to their places.
void keep_last(Entries& steered, const Example& example, const std::vector<Rope>& ropes) {
  const Tensor positions = steered[0].positions.index_select(1, example.kept.cpu()) - example.shift;
  for (size_t layer = 0; layer < steered.size(); layer++) {
    LayerEntries& s = steered[layer];
    const Rope& rope = ropes[layer];
    // a turn by -down; taking back divides by the magnitude, which stays in the key
    s.keys = rotate(s.keys.index_select(1, example.kept), example.shift, rope, true) * rope.magnitude;
    s.values = s.values.index_select(1, example.kept);
    s.positions = positions;
    if (s.bias.defined()) s.bias = s.bias.index_select(1, example.kept);
  }
}

Tensor mean_by_probe(const Tensor& values, const Example& example) {
  const auto probes = static_cast<int64_t>(example.kinds.size());
  const Tensor at = example.probe.to(values.device());
  const Tensor counts =
      torch::zeros({probes}, values.options()).index_add(0, at, torch::ones_like(values).detach());
  return torch::zeros({probes}, values.options()).index_add(0, at, values) / counts;
}

// Fills in what the cache holds of the context, and returns by how much its end moves once the gaps close.
Position add_context(Example& example, const Session& session, const Context& context, int steering_states,
                     torch::Device device) {
  const std::vector<Position> positions = session.positions();
  const std::vector<Token> tokens = session.tokens();
  std::vector<Token> span_tokens;
  std::vector<Position> span_positions;
  std::vector<Span> gaps;  // of positions, which close
  std::vector<int64_t> kept, shift;
  Position closed = 0;
  for (const Span span : context.erased) {
    span_tokens.insert(span_tokens.end(), tokens.begin() + span.begin, tokens.begin() + span.end);
    span_positions.insert(span_positions.end(), positions.begin() + span.begin, positions.begin() + span.end);
    const int stay = states_kept(span, steering_states);
    gaps.push_back({positions[span.begin], positions[span.end - stay]});
    closed += gaps.back().size();
    for (int i = 0; i < stay; i++) {
      kept.push_back(static_cast<int64_t>(span_tokens.size()) - stay + i);
      shift.push_back(closed);
    }
  }
  example.span = make_batch(span_tokens, span_positions, device);
  if (!context.policy.empty()) example.held = held_entries(cache_in(session), span_positions, device);
  Cache left = cache_in(session).fork();
  for (const Span span : context.erased) left.remove({positions[span.begin], positions[span.end - 1] + 1});
  const Position seam = span_positions.back() + 1;
  example.before = entries_of(left, {0, seam}, device);
  if (closed > 0) {
    for (size_t i = gaps.size(); i-- > 0;) left.shift(gaps[i].end, -gaps[i].size());
    if (gaps.size() > 1) example.around = entries_of(left, {0, seam - closed}, device);
    example.kept = torch::tensor(kept, torch::kInt64).to(device);
    example.shift = torch::tensor(shift, torch::kInt64);
  }
  example.behind = entries_of(left, {seam - closed, positions.back() - closed}, device);
  return closed;
}

// Fills in what the probes read before and after the erase, and what the exact cache makes of it.
void add_probes(Example& example, const Session& session, const Session& exact,
                const std::vector<Probe>& probes, Position closed, torch::Device device) {
  const Position last = session.positions().back();
  std::vector<Token> asked;
  std::vector<Position> asked_positions;
  std::vector<int64_t> owners, rows, row_probes;
  std::vector<Tensor> teacher;
  for (size_t i = 0; i < probes.size(); i++) {
    const auto owner = static_cast<int64_t>(i);
    const Forced probe = force(probes[i], exact);
    const Session stale = with(session, probe.before);
    const Position pending = stale.positions().back();
    if (pending > last) {
      Cache question = cache_in(stale).fork();
      question.remove({0, last});
      question.shift(last, -closed);
      append(example.stale, entries_of(question, {last - closed, pending - closed}, device), owner);
    }
    std::vector<Token> read = {stale.tokens().back()};
    read.insert(read.end(), probe.after.begin(), probe.after.end());
    read.insert(read.end(), probe.tokens.begin(), probe.tokens.end() - 1);
    for (size_t k = 0; k < read.size(); k++) {
      if (k + probe.tokens.size() >= read.size()) {
        rows.push_back(static_cast<int64_t>(asked.size()));
        row_probes.push_back(owner);
      }
      asked.push_back(read[k]);
      asked_positions.push_back(pending - closed + static_cast<Position>(k));
      owners.push_back(owner);
    }
    teacher.push_back(forced_logs(probe.exact, probe.tokens));
    example.kinds.push_back(probes[i].kind);
  }
  example.questions = make_batch(asked, asked_positions, device);
  example.questions.owners = torch::tensor(owners, torch::kInt64);
  example.rows = torch::tensor(rows, torch::kInt64).to(device);
  example.probe = torch::tensor(row_probes, torch::kInt64);
  example.teacher = torch::cat(teacher).to(device);
}

}  // namespace

Example make_example(const std::shared_ptr<Model>& model, const Weights& weights, const Context& context,
                     int steering_states) {
  const torch::NoGradGuard no_grad;
  const Session session = read(model, context);
  Session exact = session.fork();
  exact.erase(context.erased, {.method = "recompute"});
  Example example;
  const Position closed = add_context(example, session, context, steering_states, weights.device());
  add_probes(example, session, exact, context.probes, closed, weights.device());
  return example;
}

Tensor divergences(const Weights& weights, const Example& example, const LoraTensors* lora, bool checkpoint) {
  Entries steered;
  std::vector<const Entries*> context = {example.around.empty() ? &example.before : &example.around};
  if (lora != nullptr) {
    const Entries* const before[] = {&example.before};
    steered =
        forward(weights, example.span, before, {.lora = lora, .entries_only = true, .checkpoint = checkpoint})
            .entries;
    for (size_t i = 0; i < example.held.size(); i++) steered[i].bias = example.held[i].bias;
    if (example.kept.defined()) keep_last(steered, example, *weights.hparams().ropes);
    context.push_back(&steered);
  }
  for (const Entries* more : {&example.behind, &example.stale}) {
    if (!more->empty()) context.push_back(more);
  }
  const Tensor hidden = forward(weights, example.questions, context, {.checkpoint = checkpoint}).hidden;
  const Tensor logs = torch::log_softmax(logits(weights, hidden.index_select(0, example.rows)), -1);
  const Tensor rows = (example.teacher.exp() * (example.teacher - logs)).sum(-1);
  return mean_by_probe(rows, example);
}

std::vector<double> served_divergences(const std::shared_ptr<Model>& model, const Context& context,
                                       const std::string& method,
                                       const std::shared_ptr<const Adapter>& adapter) {
  const torch::NoGradGuard no_grad;
  const Session session = read(model, context);
  Session exact = session.fork();
  exact.erase(context.erased, {.method = "recompute"});
  std::vector<double> all;
  for (const Probe& given : context.probes) {
    const Forced probe = force(given, exact);
    Session edited = with(session, probe.before);
    if (method != "none") edited.erase(context.erased, {.method = method, .adapter = adapter});
    const Tensor teacher = forced_logs(probe.exact, probe.tokens);
    const Tensor ours = forced_logs(with(edited, probe.after), probe.tokens);
    all.push_back((teacher.exp() * (teacher - ours)).sum(-1).mean().item<double>());
  }
  return all;
}

}  // namespace kvedit::train
