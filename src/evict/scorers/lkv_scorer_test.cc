// LKV's scores by their definition, and its policy.
#include <cmath>

#include "evict/attention_testing.h"
#include "model/lkv_testing.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

double activate(double x, bool gelu) {
  return gelu ? x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)))
              : x / (1 + std::exp(-x));
}

// w . activation(H [key; value] + b), the key turned back by its position's angles.
double slow_score(const Lkv& lkv, const Rope& rope, int layer, int head, Position position,
                  const std::vector<double>& key, const std::vector<double>& value, bool gelu) {
  std::vector<double> x = key;
  for (size_t i = 0; i < rope.frequencies.size(); i++) {
    const double angle = -position * rope.frequencies[i];
    const int a = rope.first(static_cast<int>(i)), b = rope.second(static_cast<int>(i));
    x[a] = (key[a] * std::cos(angle) - key[b] * std::sin(angle)) / rope.magnitude;
    x[b] = (key[a] * std::sin(angle) + key[b] * std::cos(angle)) / rope.magnitude;
  }
  x.insert(x.end(), value.begin(), value.end());
  const LkvLayer& maps = lkv.layer(layer);
  double score = 0;
  if (maps.hidden == 0) {
    for (size_t i = 0; i < x.size(); i++) score += maps.score_weight[head * x.size() + i] * x[i];
  }
  for (int unit = 0; unit < maps.hidden; unit++) {
    const size_t at = static_cast<size_t>(head) * maps.hidden + unit;
    double z = maps.hidden_bias[at];
    for (size_t i = 0; i < x.size(); i++) z += maps.hidden_weight[at * x.size() + i] * x[i];
    score += maps.score_weight[at] * activate(z, gelu);
  }
  return score;
}

TEST(LkvScorerTest, MapsUnrotatedKeyAndValue) {
  for (const LkvSpec& spec : {LkvSpec{}, LkvSpec{.hidden = 0}, LkvSpec{.activation = "gelu"}}) {
    const std::string path = write_lkv(spec, temporary_path("scorer.lkv.gguf"));
    const auto lkv = Lkv::load(path);
    for (const CacheType type : {CacheType::f32, CacheType::f16}) {
      EvictCase c({.type = type});
      c.cache.remove({30, 45});
      const Policy policy = make_policy("lkv:file=" + path);
      for (int layer = 0; layer < 2; layer++) {
        const LayerScores scores = policy.scorer->score(c.view(layer));
        for (int head = 0; head < 2; head++) {
          const SlowAttention slow = slow_attention(c, layer, head * 3, 1);
          ASSERT_EQ(scores[head].size(), slow.positions.size());
          for (size_t j = 0; j < slow.positions.size(); j++) {
            const double wanted =
                slow_score(*lkv, (*c.network.hparams().ropes)[layer], layer, head, slow.positions[j],
                           slow.keys[j], slow.values[j], spec.activation == "gelu");
            // Sums of 24 products of about 1, in f32.
            ASSERT_NEAR(scores[head][j], wanted, 2e-5)
                << "layer " << layer << " head " << head << " entry " << j;
          }
        }
      }
    }
  }
}

TEST(LkvScorerTest, LanesGetTheirLearnedShare) {
  const std::string path = write_lkv({}, temporary_path("policy.lkv.gguf"));
  const EvictCase c({.entries = 1000});
  const auto lkv = Lkv::load(path);
  const auto kept = c.select(make_policy("lkv:sinks=0,recent=0,file=" + path), Budget::fraction(0.2));
  EXPECT_EQ(count(kept), 800U);
  for (int lane = 0; lane < 4; lane++) {
    EXPECT_NEAR(static_cast<double>(kept[lane].size()), 800 * lkv->share(lane / 2, lane % 2), 1) << lane;
  }
}

TEST(LkvScorerTest, NeedsAFileOfThisModel) {
  const EvictCase c({});
  const auto refuses = [&](const std::string& text, ErrorCode code, const char* part) {
    const auto [got, message] = error_of([&] { c.select(make_policy(text), Budget::fraction(0.5)); });
    EXPECT_EQ(got, code) << text;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  refuses("lkv", ErrorCode::not_found, "no LKV file for this model");
  refuses("snapkv+learned:window=8", ErrorCode::not_found, "no LKV file for this model");
  const std::string other = write_lkv({.fingerprint = 5}, temporary_path("other.lkv.gguf"));
  refuses("lkv:file=" + other, ErrorCode::invalid_argument, "another model");
  refuses("mix(random;critical(snapkv+learned)):window=8,file=" + other, ErrorCode::invalid_argument,
          "another model");
}

}  // namespace
}  // namespace kvedit
