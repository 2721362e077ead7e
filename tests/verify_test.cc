// Verify, forget, and the report of an erase.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "session_testing.h"

namespace kvedit {
namespace {

class VerifyTest : public testing::TestWithParam<std::string> {
 protected:
  VerifyTest() : model_(load(spec_of(GetParam()), exact_options())), eraser_(random_eraser(*model_)) {}
  std::shared_ptr<Model> model_;
  std::shared_ptr<const Adapter> eraser_;
};

TEST_P(VerifyTest, FindsNothingAfterAnExactEraseAndSomethingAfterOthers) {
  for (const EraseMethodInfo& method : erase_methods()) {
    Session session = filled(model_);
    const EraseReport report =
        session.erase(Span{20, 60}, {.method = method.name, .adapter = eraser_, .verify = true});
    ASSERT_TRUE(report.verified);
    const VerifyReport& v = *report.verified;
    EXPECT_EQ(v.probes, 4);
    if (method.exactness == Exactness::exact) {
      EXPECT_EQ(v.mean_kl, 0) << "the same cache";
      EXPECT_EQ(v.same_top, 1);
      EXPECT_EQ(v.erased_tokens, 0);
    } else {
      EXPECT_GT(v.mean_kl, method.name == "repair" || method.name == "mend" ? 0 : 1e-9)
          << method.name << ": these may repair all of it";
      EXPECT_GE(v.max_kl, v.mean_kl);
      EXPECT_EQ(v.erased_tokens, 40);
      EXPECT_EQ(v.tokens_recomputed, 139);
    }
    const std::string before = snapshot_bytes(session);
    const VerifyReport again = session.verify();
    EXPECT_EQ(again.mean_kl, v.mean_kl);
    EXPECT_EQ(again.residual_preference, v.residual_preference);
    EXPECT_EQ(snapshot_bytes(session), before);
  }
}

// By hand: the probe's distributions, and the likelihood of the erased text, from two sessions' logits.
TEST_P(VerifyTest, MeasuresWhatItSays) {
  Session session = filled(model_);
  session.erase(Span{20, 60}, {.method = "drop"});
  Session exact = fresh(model_, session.tokens());
  const std::string probe = "abc de";
  const VerifyReport report = session.verify({.probes = {probe}, .erased = {"xyz"}});
  const auto log_p = [&](Session& s, Token token) {
    const std::vector<float> logits = s.logits();
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x));
    return logits[token] - std::log(sum);
  };
  double kl = 0, likelihood = 0;
  int distributions = 0, erased = 0;
  const auto walk = [&](const std::vector<Token>& tokens, bool from_start) {
    Session a = exact.fork(), b = session.fork();
    for (size_t i = 0; i <= tokens.size(); i++) {
      if (i > 0 || from_start) {
        kl += divergence(a.logits(), b.logits(), model_->info().vocabulary).mean;
        distributions++;
      }
      if (i == tokens.size()) break;
      if (!from_start) {
        likelihood += log_p(b, tokens[i]) - log_p(a, tokens[i]);
        erased++;
      }
      a.append_tokens({&tokens[i], 1});
      b.append_tokens({&tokens[i], 1});
    }
  };
  walk(model_->tokenize(probe), true);
  const std::vector<Token> original = filled(model_).tokens();
  walk({original.begin() + 20, original.begin() + 60}, false);
  walk(model_->tokenize("xyz"), false);
  EXPECT_EQ(report.distributions, distributions);
  EXPECT_NEAR(report.mean_kl, kl / distributions, 1e-6 + 1e-3 * report.mean_kl);
  EXPECT_EQ(report.erased_tokens, erased);
  EXPECT_NEAR(report.residual_preference, likelihood / erased, 1e-4);
}

TEST_P(VerifyTest, OnAnEvictedCacheComparesWithAnEvictedOne) {
  Session session = filled(model_);
  session.evict("random", Budget::fraction(0.5));
  session.erase(Span{20, 60}, {.method = "steer", .adapter = eraser_});
  const VerifyReport report = session.verify();
  EXPECT_NE(report.note, "");
  EXPECT_GT(report.mean_kl, 0);
}

TEST_P(VerifyTest, IsDoneByARate) {
  Session session(model_, {.verify_rate = 0.5});
  session.append_tokens(random_tokens(100, 1));
  int verified = 0;
  for (int i = 0; i < 6; i++)
    verified += session.erase(Span{10, 12}, {.method = "drop"}).verified.has_value();
  EXPECT_EQ(verified, 3);
}

TEST_P(VerifyTest, AnUpgradeLeavesNothingToFind) {
  Session session = filled(model_);
  session.erase(Span{20, 60}, {.method = "drop"});
  session.upgrade();
  session.finish_upgrade();
  const VerifyReport report = session.verify();
  EXPECT_EQ(report.erased_tokens, 0);
  EXPECT_LT(report.mean_kl, 1e-7);
}

INSTANTIATE_TEST_SUITE_P(Architectures, VerifyTest, testing::Values("llama", "qwen2", "gemma3"),
                         [](const auto& info) { return info.param; });

TEST(ForgetTest, TheErasedTokensAreNowhere) {
  const auto model = load(spec_of("llama"), exact_options());
  const auto eraser = random_eraser(*model);
  const auto holds = [](const std::string& bytes, std::span<const Token> tokens) {
    const auto* const text = reinterpret_cast<const char*>(tokens.data());
    return bytes.find(std::string(text, tokens.size_bytes())) != std::string::npos;
  };
  for (const EraseMethodInfo& method : erase_methods()) {
    Session session = filled(model);
    session.erase(Span{100, 110}, {.method = "drop"});
    const std::vector<Token> all = session.tokens();
    const std::span<const Token> gone = std::span(all).subspan(20, 20);
    EraseOptions options{.method = method.name, .adapter = eraser};
    Session remembers = session.fork();
    remembers.erase(Span{20, 40}, options);
    EXPECT_EQ(holds(snapshot_bytes(remembers), gone), method.exactness != Exactness::exact)
        << "verify may ask";
    options.forget = true;
    session.erase(Span{20, 40}, options);
    EXPECT_FALSE(holds(snapshot_bytes(session), gone));
    EXPECT_EQ(session.stats().undo_steps, 0);
    EXPECT_EQ(session.stats().pinned_bytes, 0U);
    EXPECT_EQ(session.verify({.probes = {"x"}}).erased_tokens, 0);
  }
}

TEST(RepeatsTest, SayWhereTheErasedTextStillStands) {
  const auto model = load(spec_of("llama"), exact_options());
  Session session(model);
  session.append("The code is 9023, he said. A door. You told me: the code is 9023, I think. Bye 9023.");
  const Found said = session.find_one("The code is 9023, he said. ");
  const EraseReport report = session.erase(said.tokens, {.method = "drop"});
  ASSERT_EQ(report.repeated.size(), 1U) << "a long quote, but not the number alone";
  EXPECT_NE(report.repeated[0].text.find("code is 9023,"), std::string::npos) << report.repeated[0].text;
  EXPECT_EQ(report.text_bytes_erased, report.text[0].size());

  Session short_text(model);
  short_text.append("Bob. Then Bob. And Bob.");
  const EraseReport bob = short_text.erase(short_text.find_one("Bob", 1).tokens, {.method = "shift"});
  EXPECT_EQ(bob.repeated.size(), 2U) << "all of the text, however short";
}

}  // namespace
}  // namespace kvedit
