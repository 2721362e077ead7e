// Evictions of forks that share what the passes over their context captured.
#include "kvedit/evict.h"
#include "session_testing.h"

namespace kvedit {
namespace {

class EvictPassesTest : public testing::TestWithParam<std::string> {
 protected:
  EvictPassesTest() : model_(load(spec_of(GetParam()), exact_options())) {}

  struct Evicted {
    EvictReport report;
    int passes = 0;  // reports of progress that are not of a layer scored: blocks of the context read again
    View view;
  };
  Evicted evict(const Session& session, const std::string& policy, double keep,
                std::shared_ptr<EvictPasses> passes) {
    Session fork = session.fork();
    size_t calls = 0, layers = 0;
    EvictOptions options;
    options.passes = std::move(passes);
    options.progress = [&](size_t, size_t total) {
      calls++;
      layers = total;
      return true;
    };
    EvictReport report = fork.evict(policy, Budget::fraction(keep), options);
    return {std::move(report), static_cast<int>(calls - layers), View(fork)};
  }

  std::shared_ptr<Model> model_;
};

TEST_P(EvictPassesTest, AreWhatEachEvictionWouldCapture) {
  const Session session = filled(model_);
  const auto passes = make_evict_passes();
  for (const std::string& policy : policy_texts(*model_)) {
    for (const double keep : {0.5, 0.3}) {
      const Evicted alone = evict(session, policy, keep, nullptr);
      const Evicted shared = evict(session, policy, keep, passes);
      EXPECT_TRUE(alone.view == shared.view) << policy << " at " << keep;
      EXPECT_EQ(alone.report.spared_ms, 0);
    }
  }
}

TEST_P(EvictPassesTest, AreMadeOnceAContext) {
  Session session = filled(model_);
  const auto passes = make_evict_passes();
  const Evicted first = evict(session, "h2o", 0.5, passes);
  const Evicted second = evict(session, "h2o", 0.3, passes);
  EXPECT_EQ(first.report.spared_ms, 0);
  EXPECT_GT(second.report.spared_ms, 0);
  EXPECT_LT(second.passes, first.passes);

  session.append_tokens(random_tokens(3, 5));  // another context: they begin anew
  const Evicted longer = evict(session, "h2o", 0.3, passes);
  EXPECT_EQ(longer.report.spared_ms, 0);
  EXPECT_TRUE(longer.view == evict(session, "h2o", 0.3, nullptr).view);
}

// The same tokens at the same positions, but other keys and values.
TEST_P(EvictPassesTest, AreOfTheEntriesNotOfTheTokens) {
  const Session session = filled(model_);
  Session dropped = session.fork(), repaired = session.fork();
  const Span span{60, 70};
  dropped.erase({&span, 1}, {.method = "drop"});
  repaired.erase({&span, 1}, {.method = "repair"});
  const auto passes = make_evict_passes();
  evict(dropped, "h2o", 0.3, passes);
  const Evicted shared = evict(repaired, "h2o", 0.3, passes);
  EXPECT_EQ(shared.report.spared_ms, 0);
  EXPECT_TRUE(shared.view == evict(repaired, "h2o", 0.3, nullptr).view);
}

INSTANTIATE_TEST_SUITE_P(Architectures, EvictPassesTest, testing::Values("llama", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
