// Memory that runs out during a pass is an Error, never the end of the process: ggml's threads call
// operators, and an exception there would be one. So operators do not allocate at all; here each allocation
// of a pass fails once.
#include <gtest/gtest.h>

#include <numeric>
#include <optional>

#include "allocations.h"
#include "compute/engine.h"
#include "kvedit/error.h"
#include "session_testing.h"

namespace kvedit {
namespace {

using allocations::is_test_thread, allocations::on_workers, allocations::until_failure, allocations::watched;

struct PassKind {
  const char* name;
  int tokens;  // of the pass, behind a context of 200
  bool window = false;
  bool mass = false;
  bool statistics = false;
};

constexpr PassKind kPassKinds[] = {{"prefill", 100},
                                   {"decode", 1},
                                   {"a few tokens", 5},
                                   {"window", 40, true},
                                   {"all queries", 100, true, true, true}};

class NoMemoryTest : public testing::TestWithParam<LinearKernel> {
 protected:
  void SetUp() override {
    if (!allocations::kCounted) GTEST_SKIP() << "sanitizers' operators are not replaced";
    is_test_thread = true;
    TinySpec spec;
    spec.d_model = 128;  // rows of 128 have dot kernels
    spec.heads = 8;
    spec.d_ff = 256;
    spec.weight_type = GGML_TYPE_Q8_0;
    network_ = Network::load(write_tiny_model(spec, temporary_path("no_memory.gguf")));
    const Hparams& h = network_->hparams();
    pool_ = PagePool::create({h.key_dim, h.value_dim, ElementType::f16});
    tokens_ = random_tokens(300, 1);
    positions_.resize(tokens_.size());
    std::iota(positions_.begin(), positions_.end(), 0);
    cache_.emplace(pool_, h.layers, h.kv_heads, h.ropes);
    cache_->append(positions_);
    Engine engine(network_, 4, GetParam(), 64);
    const kvedit::Run run{&*cache_, tokens_, positions_, Logits::none, nullptr};
    engine.forward({&run, 1});
  }

  // The pass of a kind over what comes last.
  std::vector<float> pass(Engine& engine, const PassKind& kind) {
    Captures captures;
    kvedit::Run run;
    run.cache = &*cache_;
    run.tokens = std::span<const Token>(tokens_).last(kind.tokens);
    run.positions = std::span<const Position>(positions_).last(kind.tokens);
    run.logits = Logits::last;
    run.captures = kind.window || kind.mass ? &captures : nullptr;
    run.record = {.window_queries = kind.window ? 32 : 0,
                  .attention_mass = kind.mass,
                  .query_statistics = kind.statistics,
                  .similarity = kind.window};
    std::vector<std::vector<float>> logits = engine.forward({&run, 1});
    return std::move(logits[0]);
  }

  // Calls `work` with its first, second, ... allocation failing until none does, in wider steps the later it
  // is. Returns how many there were, about.
  template <typename Work>
  static int fail_each(Work&& work) {
    for (int n = 0;; n += 1 + n / 32) {
      until_failure = n;
      watched = true;
      ErrorCode code = ErrorCode::no_memory;
      bool threw = false;
      try {
        work();
      } catch (const Error& error) {
        watched = false;
        threw = true;
        code = error.code();
      }
      watched = false;
      const bool all = until_failure.exchange(-1) >= 0;
      EXPECT_EQ(code, ErrorCode::no_memory) << "allocation " << n;
      if (all) {
        EXPECT_FALSE(threw);
        return n;
      }
    }
  }

  std::shared_ptr<const Network> network_;
  std::shared_ptr<PagePool> pool_;
  std::vector<Token> tokens_;
  std::vector<Position> positions_;
  std::optional<Cache> cache_;
};

// Of kernels of our own and ggml's; oneDNN allocates when it runs, and what it throws is caught.
class AllocationFreeTest : public NoMemoryTest {};

TEST_P(AllocationFreeTest, OperatorsDoNotAllocate) {
  Engine engine(network_, 4, GetParam(), 64);
  for (const PassKind& kind : kPassKinds) {
    on_workers = 0;
    watched = true;
    pass(engine, kind);
    watched = false;
    EXPECT_EQ(on_workers, 0) << kind.name;
  }
}

TEST_P(NoMemoryTest, APassThatFindsNoneIsAnErrorAndTheNextOneWorks) {
  Engine engine(network_, 4, GetParam(), 64);
  for (const PassKind& kind : kPassKinds) {
    const std::vector<float> expected = pass(engine, kind);
    std::vector<float> logits;
    const int allocations = fail_each([&] { logits = pass(engine, kind); });
    EXPECT_GT(allocations, 3) << kind.name;
    EXPECT_EQ(logits, expected) << kind.name;
  }
}

// The graph and all scratch are made, too; oneDNN's products are there already.
TEST_P(NoMemoryTest, AFirstPassThatFindsNoneIsAnErrorAndTheNextOneWorks) {
  for (const PassKind& kind : kPassKinds) {
    std::optional<Engine> engine;
    engine.emplace(network_, 2, GetParam(), 64);
    const std::vector<float> expected = pass(*engine, kind);
    std::vector<float> logits;
    fail_each([&] {
      watched = false;
      engine.emplace(network_, 2, GetParam(), 64);
      watched = true;
      logits = pass(*engine, kind);
    });
    EXPECT_EQ(logits, expected) << kind.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, NoMemoryTest,
                         testing::Values(LinearKernel::ggml, LinearKernel::int8_dense,
                                         LinearKernel::f32_dense, LinearKernel::f32, LinearKernel::bf16));

INSTANTIATE_TEST_SUITE_P(Kernels, AllocationFreeTest,
                         testing::Values(LinearKernel::ggml, LinearKernel::int8_dense));

}  // namespace
}  // namespace kvedit
