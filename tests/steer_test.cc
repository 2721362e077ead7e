// KVEraser's steering on tiny random models: what it writes, and what it leaves alone.
#include <gtest/gtest.h>

#include <cmath>

#include "session/model_impl.h"
#include "session_testing.h"
#include "tiny_adapter.h"

namespace kvedit {
namespace {

const Network& network_of(const Model& model) { return implementation(model)->network(); }

struct Entries {
  std::vector<float> keys, values;
  bool operator==(const Entries&) const = default;
};

// Entries of a lane at positions [begin, end).
Entries entries(const Cache& cache, int layer, int head, Span positions) {
  const PageShape& shape = cache.pool()->shape();
  const Lane& lane = cache.lane(layer, head);
  const auto all = lane.positions();
  const auto first = std::lower_bound(all.begin(), all.end(), positions.begin) - all.begin();
  const auto last = std::lower_bound(all.begin(), all.end(), positions.end) - all.begin();
  Entries e{std::vector<float>((last - first) * shape.key_dim),
            std::vector<float>((last - first) * shape.value_dim)};
  lane.read(static_cast<int>(first), static_cast<int>(last), e.keys, e.values);
  return e;
}

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0, top = 0;
  EXPECT_EQ(a.size(), b.size());
  for (size_t i = 0; i < std::min(a.size(), b.size()); i++) {
    worst = std::max<double>(worst, std::fabs(a[i] - b[i]));
    top = std::max<double>(top, std::fabs(a[i]));
  }
  return worst / top;
}

class SteerTest : public testing::TestWithParam<std::string> {
 protected:
  SteerTest()
      : path_(write_tiny_model(spec_of(GetParam()), temporary_path(GetParam() + ".gguf"))),
        model_(Model::load(path_, exact_options())) {}

  const Hparams& hparams() const { return network_of(*model_).hparams(); }
  template <typename Check>
  void for_lanes(Check check) const {
    for (int layer = 0; layer < hparams().layers; layer++) {
      for (int head = 0; head < hparams().kv_heads; head++) check(layer, head);
    }
  }

  std::string path_;
  std::shared_ptr<Model> model_;
};

TEST_P(SteerTest, WritesWhatAModelWithTheAdapterMergedWouldWrite) {
  const Span span{60, 100};
  const auto eraser = random_eraser(*model_);
  const auto merged = Model::load(merge_lora(path_, *implementation(*eraser), temporary_path("merged.gguf")),
                                  exact_options());
  Session session = filled(model_);
  const Cache before = cache_of(session);
  const std::vector<Token> tokens = session.tokens();
  const EraseReport report = session.erase(span, {.method = "steer", .adapter = eraser});
  EXPECT_EQ(report.exactness, Exactness::learned);
  EXPECT_EQ(report.tokens_recomputed, span.size());
  EXPECT_FALSE(report.positions_changed);
  const Cache after = cache_of(session);

  // The merged model over [prefix as the plain model read it, span].
  Cache reference = implementation(*merged)->new_cache();
  const std::vector<Position> positions = [&] {
    std::vector<Position> all(span.end);
    for (int i = 0; i < span.end; i++) all[i] = i;
    return all;
  }();
  reference.append(positions);
  const auto prefix = std::span(positions).first(span.begin);
  for_lanes([&](int layer, int head) {
    const Entries e = entries(before, layer, head, {0, span.begin});
    reference.write(layer, head, prefix, e.keys, e.values);
  });
  Engine engine(implementation(*merged)->shared_network(), 1, LinearKernel::f32, 64);
  kvedit::Run run;
  run.cache = &reference;
  run.tokens = std::span(tokens).subspan(span.begin, span.size());
  run.positions = std::span(positions).subspan(span.begin, span.size());
  engine.forward({&run, 1});

  double moved = 0;
  for_lanes([&](int layer, int head) {
    EXPECT_EQ(entries(after, layer, head, {0, span.begin}), entries(before, layer, head, {0, span.begin}));
    EXPECT_EQ(entries(after, layer, head, {span.end, 199}), entries(before, layer, head, {span.end, 199}));
    const Entries wanted = entries(reference, layer, head, span);
    const Entries written = entries(after, layer, head, span);
    EXPECT_LT(difference(wanted.keys, written.keys), 1e-4) << layer;
    EXPECT_LT(difference(wanted.values, written.values), 1e-4) << layer;
    moved = std::max(moved, difference(written.values, entries(before, layer, head, span).values));
  });
  EXPECT_GT(moved, 0.01) << "the adapter does something";
}

TEST_P(SteerTest, WithAZeroAdapterIsTheIdentity) {
  for (const bool evicted : {false, true}) {
    Session session = filled(model_);
    if (evicted) session.evict("random", Budget::fraction(0.5));
    const Cache before = cache_of(session);
    const Span spans[] = {{5, 9}, {60, 130}};
    session.erase(spans, {.method = "steer", .adapter = model_->zero_adapter(4)});
    const Cache after = cache_of(session);
    for_lanes([&](int layer, int head) {
      EXPECT_EQ(after.lane(layer, head).positions(), before.lane(layer, head).positions());
      if (evicted) return;  // span tokens see entries that their lanes had lost: not the same pass
      const Entries a = entries(before, layer, head, {0, 199}), b = entries(after, layer, head, {0, 199});
      EXPECT_LT(difference(a.keys, b.keys), 1e-4);
      EXPECT_LT(difference(a.values, b.values), 1e-4);
    });
  }
}

// As with all states, then what is in front of the last four of each span is removed and the gaps closed.
TEST_P(SteerTest, AnAdapterOfFewStatesClosesTheGaps) {
  const Span spans[] = {{20, 22}, {60, 100}, {120, 130}};
  for (const bool evicted : {false, true}) {
    Session all = filled(model_);
    if (evicted) all.evict("random", Budget::fraction(0.5));
    Session few = all.fork();
    all.erase(spans, {.method = "steer", .adapter = random_eraser(*model_, 0.5F)});
    const EraseReport report =
        few.erase(spans, {.method = "steer", .adapter = random_eraser(*model_, 0.5F, 4)});
    EXPECT_TRUE(report.positions_changed);
    EXPECT_EQ(report.tokens_recomputed, 52);
    EXPECT_EQ(few.tokens(), all.tokens());
    EXPECT_EQ(few.stats().steered_tokens, 2 + 4 + 4);
    EXPECT_EQ(few.stats().full_entries,
              all.stats().full_entries - 42 * hparams().layers * hparams().kv_heads);
    std::vector<Position> positions = all.positions();
    for (Position& p : positions) p -= p >= 130 ? 42 : p >= 100 ? 36 : 0;
    EXPECT_EQ(few.positions(), positions);

    Cache closed = cache_of(all);
    closed.remove({120, 126});
    closed.shift(126, -6);
    closed.remove({60, 96});
    closed.shift(96, -36);
    const Cache cache = cache_of(few);
    for_lanes([&](int layer, int head) {
      EXPECT_EQ(cache.lane(layer, head).positions(), closed.lane(layer, head).positions());
      EXPECT_EQ(entries(cache, layer, head, {0, 200}), entries(closed, layer, head, {0, 200}));
    });
    if (evicted) continue;
    EXPECT_EQ(few.stats().entries, few.stats().full_entries);
    few.append_tokens(random_tokens(5, 3));
    snapshot_bytes(few);
    Session loaded = Session::load(model_, temporary_path("snapshot.kvs"));
    EXPECT_LT(from(few, loaded).relative, 1e-5);
  }
}

TEST_P(SteerTest, AtTheEndRemovesWhatNothingHasSeen) {
  const std::vector<Token> tokens = filled(model_).tokens();
  Session rest = fresh(model_, std::span(tokens).first(150));
  Session session = rest.fork();  // passes over 150 and 200 tokens need not round alike
  session.append_tokens(std::span(tokens).subspan(150));
  session.erase(Span{150, 200}, {.method = "steer", .adapter = random_eraser(*model_)});
  EXPECT_EQ(View(session), View(rest));
}

TEST_P(SteerTest, EditsAfterwardsKeepTranscriptAndCacheTogether) {
  for (const int states : {0, 4}) {
    const auto eraser = random_eraser(*model_, 0.5F, states);
    Session session = filled(model_);
    session.erase(Span{50, 60}, {.method = "steer", .adapter = eraser});
    EXPECT_EQ(session.stats().steered_tokens, states == 0 ? 10 : 4);
    EXPECT_EQ(session.stats().entries, session.stats().full_entries);
    for (const EraseMethodInfo& method : erase_methods()) {
      for (const Span span :
           {Span{10, 20}, Span{40, 50}, Span{45, 55}, Span{50, 51}, Span{60, 70}, Span{100, 190}}) {
        Session fork = session.fork();
        fork.erase(span, {.method = method.name, .adapter = eraser});
        const SessionStats stats = fork.stats();
        EXPECT_EQ(stats.entries, stats.full_entries) << method.name << " " << span.begin;
        fork.append_tokens(random_tokens(5, 3));
        Session loaded = Session::load(model_, (snapshot_bytes(fork), temporary_path("snapshot.kvs")));
        EXPECT_LT(from(fork, loaded).relative, 1e-5);
        if (method.name == "recompute") {
          Session exact = fresh(model_, fork.tokens());
          EXPECT_LT(from(exact, fork).relative, 1e-4) << span.begin;
        }
      }
    }
  }
}

TEST_P(SteerTest, RefusesWithoutAnAdapterOrWithAnotherModels) {
  Session session = filled(model_);
  const std::string before = snapshot_bytes(session);
  EXPECT_EQ(code_of([&] { session.erase(Span{5, 9}, {.method = "steer"}); }), ErrorCode::invalid_argument);
  TinySpec other = spec_of(GetParam());
  other.seed = 77;
  const auto stranger =
      Model::load(write_tiny_model(other, temporary_path("stranger.gguf")), exact_options());
  EXPECT_EQ(code_of([&] {
              session.erase(Span{5, 9}, {.method = "steer", .adapter = random_eraser(*stranger)});
            }),
            ErrorCode::invalid_argument);
  EXPECT_EQ(snapshot_bytes(session), before);
}

// A batch mixes runs with an adapter and without.
TEST_P(SteerTest, AnAdapterOfOneRunLeavesTheOthersAlone) {
  const auto& impl = *implementation(*model_);
  const auto eraser = implementation(*random_eraser(*model_));
  Engine engine(impl.shared_network(), 1, LinearKernel::f32, 64);
  const std::vector<Token> tokens = random_tokens(40, 5);
  std::vector<Position> positions(tokens.size());
  for (size_t i = 0; i < positions.size(); i++) positions[i] = static_cast<Position>(i);
  const auto logits = [&](const std::vector<std::shared_ptr<const Lora>>& adapters, Logits wanted) {
    std::vector<Cache> caches;
    std::vector<kvedit::Run> runs;
    caches.reserve(adapters.size());
    for (const auto& adapter : adapters) {
      caches.push_back(impl.new_cache());
      caches.back().append(positions);
      runs.push_back({.cache = &caches.back(),
                      .tokens = tokens,
                      .positions = positions,
                      .logits = wanted,
                      .adapter = adapter});
    }
    return engine.forward(runs);
  };
  for (const Logits wanted : {Logits::all, Logits::last}) {
    const auto plain = logits({nullptr}, wanted)[0];
    const auto adapted = logits({eraser}, wanted)[0];
    EXPECT_GT(difference(plain, adapted), 1e-3);
    const auto mixed = logits({nullptr, eraser, nullptr, eraser}, wanted);
    for (size_t i = 0; i < mixed.size(); i++) {
      EXPECT_LT(difference(i % 2 == 0 ? plain : adapted, mixed[i]), 1e-5) << i;
    }
  }
}

TEST_P(SteerTest, APlainPassWithAnAdapterAgreesWithLibllama) {
  TinyAdapterSpec spec;
  spec.magnitude = 0.5F;
  const std::string file = write_lora_gguf(network_of(*model_), spec, temporary_path("lora.gguf"));
  const auto lora = Lora::load(file, network_of(*model_));
  Engine engine(implementation(*model_)->shared_network(), 1, LinearKernel::f32, 64);
  const std::vector<Token> tokens = random_tokens(100, 6);
  std::vector<Position> positions(tokens.size());
  for (size_t i = 0; i < positions.size(); i++) positions[i] = static_cast<Position>(i);
  Cache cache = implementation(*model_)->new_cache();
  cache.append(positions);
  const kvedit::Run run{
      .cache = &cache, .tokens = tokens, .positions = positions, .logits = Logits::all, .adapter = lora};
  const auto ours = engine.forward({&run, 1})[0];
  const Divergence d = divergence(Peer(path_).logits(tokens, {.adapter = file}), ours, hparams().vocabulary);
  EXPECT_LT(d.mean, 1e-6) << d;
  EXPECT_LT(d.relative, 1e-3) << d;
}

INSTANTIATE_TEST_SUITE_P(Architectures, SteerTest, testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
