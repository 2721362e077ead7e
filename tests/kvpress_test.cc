// Kept sets against kvpress's own, on the same prompt and the same weights: tests/fixtures/kvpress.json,
// made by bench/peers/kvpress_fixture.py, which also says which of our parameters are kvpress's.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cache/cache_testing.h"
#include "evict/policy.h"
#include "peer.h"

namespace kvedit {
namespace {

// Bit p of a number in hex.
bool bit(const std::string& hex, Position p) {
  const size_t digit = static_cast<size_t>(p) / 4;
  if (digit >= hex.size()) return false;
  return std::stoi(hex.substr(hex.size() - 1 - digit, 1), nullptr, 16) >> (p % 4) & 1;
}

class KvpressTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = kSmolLM2.path();
    if (path.empty()) GTEST_SKIP() << "scripts/deps has not brought the default model";
    std::ifstream file(std::filesystem::path(__FILE__).parent_path() / "fixtures/kvpress.json");
    fixture_ = nlohmann::json::parse(file);
    network_ = Network::load(path);
  }
  nlohmann::json fixture_;
  std::shared_ptr<const Network> network_;
};

// What differs are near ties: sums of f32 in another order.
TEST_F(KvpressTest, KeepsWhatKvpressKeeps) {
  const Hparams& h = network_->hparams();
  const auto tokens = fixture_["tokens"].get<std::vector<Token>>();
  const auto positions = range(0, static_cast<int>(tokens.size()));
  Cache cache(PagePool::create({h.key_dim, h.value_dim, CacheType::f32}), h.layers, h.kv_heads, h.ropes);
  cache.append(positions);
  Captures captures;
  const kvedit::Run run{
      &cache,    tokens, positions, Logits::none,
      &captures, 0,      nullptr,   {.window_queries = 64, .query_statistics = true, .first_counted = 4}};
  Engine(network_, 2, LinearKernel::f32, 512).forward({&run, 1});

  ASSERT_GE(fixture_["kept"].size(), 5U);
  for (const auto& recorded : fixture_["kept"].items()) {
    const auto kept = choose_entries(
        make_policy(recorded.key()), cache, *network_, [&](const CaptureRequest&) { return captures; },
        std::span(positions).last(captures.tokens), Budget::fraction(fixture_["keep"].get<double>()), {});
    size_t same = 0, all = 0;
    for (int layer = 0; layer < h.layers; layer++) {
      for (int head = 0; head < h.kv_heads; head++) {
        const auto& ours = kept[layer * h.kv_heads + head];
        const auto theirs = recorded.value()[layer][head].get<std::string>();
        for (Position p : positions) all += bit(theirs, p);
        same += std::count_if(ours.begin(), ours.end(), [&](int entry) { return bit(theirs, entry); });
      }
    }
    EXPECT_EQ(all, tokens.size() / 2 * h.layers * h.kv_heads);
    const double overlap = static_cast<double>(same) / static_cast<double>(all);
    std::cout << recorded.key() << ": " << 100 * overlap << " %\n";
    EXPECT_GE(overlap, 0.999) << recorded.key();
  }
}

}  // namespace
}  // namespace kvedit
