#include <algorithm>
#include <limits>

#include "evict/evict_testing.h"
#include "evict/keep_entries.h"
#include "evict/parts.h"
#include "tools/text.h"

namespace kvedit {
namespace {

const char* const kEvery[] = {"random", "streaming-llm", "snapkv:window=8", "ada-snapkv:window=8",
                              "random+adaptive"};

TEST(SelectTest, SpendsTheBudgetOnEntriesInOrder) {
  const EvictCase c({.entries = 200});
  for (const char* text : kEvery) {
    const Policy policy =
        make_policy(cat(text, std::string_view(text).find(':') < 99 ? "," : ":", "recent=8"));
    for (double f : {0.06, 0.29, 0.5, 0.999}) {
      const auto kept = c.select(policy, Budget::fraction(f));
      ASSERT_EQ(kept.size(), 4U);
      EXPECT_EQ(count(kept), static_cast<size_t>(f * 800 + 1e-6)) << policy.name;
      for (const auto& lane : kept) {
        EXPECT_TRUE(std::is_sorted(lane.begin(), lane.end()));
        EXPECT_TRUE(std::adjacent_find(lane.begin(), lane.end()) == lane.end());
        for (int j = 0; j < 4; j++) EXPECT_EQ(lane[j], j) << "sink";
        for (int j = 0; j < 8; j++) EXPECT_EQ(lane[lane.size() - 8 + j], 192 + j) << "recent";
      }
    }
    EXPECT_EQ(count(c.select(policy, Budget::tokens(50))), 200U);
  }
}

TEST(SelectTest, KeepsTheHighestScoresAndSettlesTiesByPosition) {
  class Steps : public Scorer {  // 0 0 0 1 1 1 2 2 2 ... mod 4
   public:
    LayerScores score(const LayerView& view) const override {
      LayerScores scores(view.cache.kv_heads());
      for (auto& lane : scores) {
        for (int j = 0; j < 24; j++) lane.push_back(static_cast<float>(j / 3 % 4));
        lane[20] = std::numeric_limits<float>::quiet_NaN();  // counts as the lowest
      }
      return scores;
    }
  };
  const EvictCase c({.layers = 1, .kv_heads = 1, .entries = 24, .queries = 1});
  Policy policy = make_policy("random:sinks=0,recent=0");
  policy.selector = scored(std::make_unique<Steps>(), uniform_allocator().make(Parameters("evict")));
  EXPECT_EQ(c.select(policy, Budget::tokens(8))[0], (std::vector<int>{6, 7, 9, 10, 11, 21, 22, 23}));
  EXPECT_EQ(c.select(policy, Budget::tokens(23))[0].size(), 23U);
  const auto all_but_one = c.select(policy, Budget::tokens(23))[0];
  EXPECT_EQ(std::count(all_but_one.begin(), all_but_one.end(), 20), 0);
}

TEST(SelectTest, StreamingLlmKeepsSinksAndTheLast) {
  const EvictCase c({.entries = 100});
  for (const auto& lane : c.select(make_policy("streaming-llm"), Budget::tokens(20))) {
    auto expected = range(0, 4);
    for (int j : range(84, 100)) expected.push_back(j);
    EXPECT_EQ(lane, expected);
  }
}

// Short contexts of a model with sliding windows: there are no sinks in their lanes.
TEST(SelectTest, NoLaneIsLeftWithoutEntries) {
  for (const int entries : {1, 2, 3, 5, 8}) {
    const EvictCase c({.entries = entries, .window = 4});
    for (const char* text :
         {"streaming-llm", "random:recent=0", "streaming-llm:sinks=0", "keydiff+global:recent=1"}) {
      const Policy policy = make_policy(text);
      for (int tokens = 0; tokens <= entries; tokens++) {
        try {
          for (const auto& lane : c.select(policy, Budget::tokens(tokens))) {
            EXPECT_FALSE(lane.empty()) << text << ", " << tokens << " of " << entries;
          }
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::out_of_range) << error.what();
        }
      }
    }
  }
}

TEST(SelectTest, ABudgetThatIsMetKeepsEverything) {
  const EvictCase c({.entries = 100, .window = 30});
  const Policy policy = make_policy("snapkv");
  for (const Budget& budget : {Budget::fraction(1), Budget::tokens(100), Budget::bytes(c.cache.bytes())}) {
    EXPECT_EQ(c.select(policy, budget), everything(c.cache));
  }
}

TEST(SelectTest, UnreachableEntriesGoFirstAndDoNotCount) {
  const EvictCase c({.entries = 100, .window = 30});
  // The next query, at 100, reaches positions > 70: 29 entries of the sliding layer.
  const auto kept = c.select(make_policy("random:recent=8"), Budget::fraction(0.5));
  EXPECT_EQ(count(kept), static_cast<size_t>((100 + 29) * 2 * 0.5));
  EXPECT_EQ(kept[0].front(), 0);
  for (int lane : {2, 3}) {
    EXPECT_GE(kept[lane].front(), 71) << "no sinks in sliding layers";
    EXPECT_EQ(kept[lane].back(), 99);
  }
  const auto nearly_all = c.select(make_policy("random"), Budget::fraction(0.9999));
  EXPECT_EQ(nearly_all[2], range(71, 100));
}

TEST(SelectTest, LanesAlreadyEvictedGoOn) {
  EvictCase c({.entries = 200});
  c.cache.keep(0, 0, range(150, 200));
  c.cache.keep(1, 1, range(199, 200));
  c.cache.keep(1, 0, {});
  for (const char* text : kEvery) {
    const auto kept = c.select(make_policy(text), Budget::fraction(0.5));
    EXPECT_EQ(count(kept), (50U + 200 + 0 + 1) / 2) << text;
    EXPECT_EQ(kept[3], range(0, 1));
    EXPECT_TRUE(kept[2].empty());
  }
}

TEST(SelectTest, ABudgetBelowWhatIsAlwaysKeptNamesBoth) {
  const EvictCase c({.entries = 200});
  for (const char* text : {"snapkv", "random", "ada-snapkv"}) {
    const auto [code, message] = error_of([&] { c.select(make_policy(text), Budget::fraction(0.1)); });
    EXPECT_EQ(code, ErrorCode::out_of_range);
    EXPECT_NE(message.find("80 entries"), std::string::npos) << message;
    EXPECT_NE(message.find("144"), std::string::npos) << message;
  }
  EXPECT_EQ(error_of([&] { c.select(make_policy("random"), Budget::bytes(100)); }).first,
            ErrorCode::out_of_range);
  EXPECT_EQ(count(c.select(make_policy("random"), Budget::tokens(36))), 144U) << "just enough";
}

TEST(SelectTest, RefusesBudgetsThatAreNone) {
  const EvictCase c({});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const Budget& budget :
       {Budget::fraction(0), Budget::fraction(-1), Budget::fraction(1.01), Budget::fraction(nan),
        Budget::tokens(0), Budget::tokens(-3), Budget::bytes(0)}) {
    EXPECT_EQ(error_of([&] { c.select(make_policy("random"), budget); }).first, ErrorCode::out_of_range);
  }
}

TEST(SelectTest, BytesAreNeverPassed) {
  for (uint32_t seed = 0; seed < 20; seed++) {
    EvictCase c({.entries = 500, .window = seed % 2 ? 90 : 0, .seed = seed});
    if (seed % 3 == 0) c.cache.remove({100, 163});  // pages that are not full
    const size_t bytes = c.cache.bytes() * (25 + seed * 3) / 100;
    const auto kept = c.select(make_policy("ada-snapkv:window=8,recent=8"), Budget::bytes(bytes));
    EXPECT_GT(count(kept), 0U);
    const EvictReport report = keep_entries(c.cache, kept);
    EXPECT_LE(report.bytes_after, bytes);
  }
}

TEST(SelectTest, ReportsProgressByLayerAndCanBeCancelled) {
  const EvictCase c({.layers = 3});
  std::vector<size_t> done;
  EvictOptions options;
  options.progress = [&](size_t layer, size_t total) {
    EXPECT_EQ(total, 3U);
    done.push_back(layer);
    return layer < 2;
  };
  const auto [code, message] =
      error_of([&] { c.select(make_policy("random"), Budget::fraction(0.5), options); });
  EXPECT_EQ(code, ErrorCode::cancelled);
  EXPECT_EQ(done, (std::vector<size_t>{1, 2}));
}

// Workers are std::jthread's, so this runs under TSan, too.
TEST(SelectTest, ThreadsScoreTheSameAndStopTogether) {
  const EvictCase c({.layers = 9, .queries = 8});
  const Policy policy = make_policy("mix(random;laprox-joint+global):window=8");
  const auto select_with = [&](int threads, const EvictOptions& options) {
    return choose_entries(policy, c.cache, c.network, c.capture(), c.window_positions, Budget::fraction(0.5),
                          options, threads);
  };
  size_t last = 0;
  EvictOptions options;
  options.progress = [&](size_t done, size_t total) {
    EXPECT_LT(last, done);
    EXPECT_EQ(total, 18U);
    last = done;
    return true;
  };
  EXPECT_EQ(select_with(4, options), select_with(1, {}));
  EXPECT_EQ(last, 18U);
  options.progress = [](size_t, size_t) { return false; };
  EXPECT_EQ(error_of([&] { select_with(4, options); }).first, ErrorCode::cancelled);
  EvictCase broken({.layers = 9});
  broken.captures = {};
  EXPECT_EQ(error_of([&] {
              choose_entries(policy, broken.cache, broken.network, broken.capture(), {},
                             Budget::fraction(0.5), {}, 4);
            }).first,
            ErrorCode::invalid_argument);
}

TEST(SelectTest, AnEmptyCacheKeepsNothing) {
  EvictCase c({.entries = 20});
  c.cache.remove({0, 20});
  EXPECT_EQ(count(c.select(make_policy("random"), Budget::fraction(0.5))), 0U);
}

}  // namespace
}  // namespace kvedit
