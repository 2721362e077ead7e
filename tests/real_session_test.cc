// The main job on the real models: prefill, erase, evict, go on.
#include <gtest/gtest.h>

#include <algorithm>

#include "kvedit/session.h"
#include "peer.h"
#include "tools/resident.h"

namespace kvedit {
namespace {

class RealSessionTest : public testing::TestWithParam<RealModel> {
 protected:
  void SetUp() override {
    path_ = GetParam().path();
    if (path_.empty()) GTEST_SKIP() << "scripts/deps has not brought this model";
  }
  std::shared_ptr<Model> load(LinearKernel linear, CacheType cache) const {
    ModelOptions options;
    options.threads = 2;
    options.linear = linear;
    options.cache = cache;
    return Model::load(path_, options);
  }
  static std::string context(const std::string& wrong) {
    return prose(260, 1) + wrong + prose(260, 2) + "The code for the archive door is 4471. " + prose(130, 3);
  }
  std::string path_;
};

constexpr const char* kWrong = "The code for the archive door is 9023. ";

// Blocks fall elsewhere, and the default kernels differ for a short last one, so that keys and values carry
// other roundings of quantised products. A single distribution may be ten times as far off as the mean.
TEST_P(RealSessionTest, RecomputeEqualsAFreshPrefill) {
  for (const bool exact : {true, false}) {
    const auto model =
        exact ? load(LinearKernel::f32, CacheType::f32) : load(LinearKernel::automatic, CacheType::f16);
    Session edited(model);
    edited.append(context(kWrong));
    const EraseReport report = edited.erase(edited.find_one(kWrong).tokens);
    Session fresh(model);
    fresh.append_tokens(edited.tokens());
    const std::vector<Token> next = model->tokenize(prose(60, 4));
    const Divergence d =
        divergence(fresh.logits_after(next), edited.logits_after(next), model->info().vocabulary);
    std::cout << (exact ? "f32: " : "default kernels: ") << d << "\n";
    EXPECT_LT(d.mean, exact ? 1e-6 : 5e-3);
    EXPECT_LT(d.max, exact ? 1e-5 : 1e-1);
    EXPECT_EQ(report.exactness, Exactness::exact);
  }
}

// A row of the matrix of tiny models: every method, before and after eviction.
TEST_P(RealSessionTest, EveryMethodErasesBeforeAndAfterEviction) {
  const auto model = load(LinearKernel::automatic, CacheType::f16);
  const auto eraser = model->zero_adapter(16);
  Session full(model);
  full.append(context(kWrong));
  for (const bool evicted : {false, true}) {
    Session session = full.fork();
    if (evicted) session.evict("snapkv", Budget::fraction(0.3));
    const std::vector<Token> tokens = session.tokens();
    const size_t entries = session.stats().entries;
    for (const EraseMethodInfo& method : erase_methods()) {
      Session edited = session.fork();
      const EraseReport report =
          edited.erase(edited.find_one(kWrong).tokens, {.method = method.name, .adapter = eraser});
      EXPECT_EQ(edited.tokens().size(), tokens.size() - report.tokens_erased) << method.name;
      EXPECT_LE(edited.stats().entries, entries) << method.name;
      EXPECT_EQ(edited.find(kWrong).size(), 0U);
      EXPECT_EQ(report.exactness == Exactness::exact && evicted, !report.note.empty()) << method.name;
      if (method.needs_adapter && !evicted) {  // nothing was steered: the cache has not changed
        const std::vector<Token> next = model->tokenize(prose(40, 4));
        const Divergence d =
            divergence(full.logits_after(next), edited.logits_after(next), model->info().vocabulary);
        EXPECT_LT(d.mean, 1e-2) << d;  // quantised kernels that differ for few tokens
      }
      edited.append(" And then");
      EXPECT_GT(edited.generate({.max_tokens = 3}).tokens.size(), 0U);
      edited.undo();
      EXPECT_EQ(edited.tokens(), tokens);
      EXPECT_EQ(edited.stats().entries, entries);
    }
  }
}

TEST_P(RealSessionTest, EveryPolicyKeepsATenthAndGoesOn) {
  const auto model = load(LinearKernel::automatic, CacheType::f16);
  Session session(model);
  session.append(prose(500, 4));
  const size_t bytes = session.stats().bytes;
  for (const PolicyInfo& policy : policies()) {
    if (policy.needs_file()) continue;
    Session fork = session.fork();
    const EvictReport report = fork.evict(policy.name, Budget::fraction(0.1));
    const size_t rounding = model->pool().page_bytes * report.lanes.size();  // at most a page a lane
    EXPECT_LE(fork.stats().bytes, bytes * 12 / 100 + rounding) << policy.name;
    // Of what attention can reach; in sliding-window layers most of it cannot be, and goes first.
    EXPECT_LE(report.keep, 0.101) << policy.name;
    EXPECT_GE(report.keep, model->info().window > 0 ? 0.02 : 0.099) << policy.name;
    fork.append(" And then");
    EXPECT_GT(fork.generate({.max_tokens = 3}).tokens.size(), 0U);
  }
}

TEST_P(RealSessionTest, KeepingATenthFreesTheRest) {
  const auto model = load(LinearKernel::automatic, CacheType::f16);
  Session session(model);
  session.append(prose(1900, 4));
  session.fork().evict("snapkv", Budget::fraction(0.1));
  session.logits();  // buffers of decoding and of policies are there now
  const size_t bytes = session.stats().bytes;
  const size_t resident = resident_bytes();
  session.evict("snapkv", Budget::fraction(0.1));
  const size_t freed = bytes - session.stats().bytes;
  EXPECT_LT(resident_bytes() + freed * 9 / 10, resident + (4U << 20U)) << "of " << freed << " bytes";
  EXPECT_EQ(model->pool().bytes_in_use, session.stats().bytes);
}

TEST_P(RealSessionTest, AHundredShiftsStayBounded) {
  const auto model = load(LinearKernel::automatic, CacheType::f16);
  Session shifted(model);
  shifted.append(prose(400, 6));
  Session once = shifted.fork();
  // 100 single tokens from the front part against one span of 100: the same text, keys turned 100 times or
  // once.
  for (int i = 0; i < 100; i++) shifted.erase(Span{20, 21}, {.method = "shift"});
  once.erase(Span{20, 120}, {.method = "shift"});
  ASSERT_EQ(shifted.tokens(), once.tokens());
  const Divergence d = divergence(once.logits(), shifted.logits(), model->info().vocabulary);
  std::cout << "100 shifts against one: " << d << "\n";
  // Each turn rounds keys to f16 again: 100 independent roundings of 2^-12 add up to some 2^-9, which
  // quantised kernels then amplify as they do any difference (see logits_test). Measured: 0.002 to 0.02.
  EXPECT_LT(d.mean, 5e-2);
}

// Every vocabulary has tokens for "letter" and "house".
TEST_P(RealSessionTest, CommonWordsAreNotMentioned) {
  Session session(load(LinearKernel::automatic, CacheType::f16));
  session.append("The letter was left in the house by the smuggler. It cost 4471 pounds.");
  session.append(" Since then a letter, some smuggler, another house and 4471 more.");
  const EraseReport report =
      session.erase(session.find_one("letter was left in the house by the smuggler. It cost 4471").tokens,
                    {.method = "drop"});
  std::vector<std::string> words;
  for (const Mention& mention : report.mentions) words.push_back(mention.word);
  EXPECT_EQ(words, (std::vector<std::string>{"4471", "smuggler"}));
}

INSTANTIATE_TEST_SUITE_P(Models, RealSessionTest, testing::Values(kSmolLM2, kGemma3, kQwen),
                         [](const auto& info) { return info.param.name; });

// Greedy text equals llama.cpp's, or the first difference is a near-tie: the two best logits are closer
// than what quantised rounding moves them.
class GreedyTest : public testing::TestWithParam<RealModel> {};

TEST_P(GreedyTest, TextIsLlamaCppsOrANearTie) {
  const std::string path = GetParam().path();
  if (path.empty()) GTEST_SKIP() << "scripts/deps has not brought this model";
  ModelOptions options;
  options.threads = 2;
  const auto model = Model::load(path, options);
  const Peer peer(path);
  const char* const prompts[] = {"The capital of France is", "Once upon a time, in a village by the sea,",
                                 "To make bread you need",
                                 "def fibonacci(n):", "The three laws of motion say that"};
  for (const char* prompt : prompts) {
    Session session(model);
    session.append(prompt);
    const std::vector<Token> ours = session.generate({.max_tokens = 64}).tokens;
    // One pass of libllama over our text says at each token what it would have chosen.
    const std::vector<Token> text = session.tokens();
    const std::vector<float> all = peer.logits(text, {.flash_attention = true, .f32_cache = false});
    const size_t before = text.size() - ours.size();
    for (size_t i = 0; i < ours.size(); i++) {
      const auto row =
          std::span<const float>(all).subspan((before + i - 1) * peer.vocabulary(), peer.vocabulary());
      const float lead = *std::max_element(row.begin(), row.end()) - row[ours[i]];
      if (lead > 0) {
        std::cout << "'" << prompt << "': token " << i << " differs, near-tie of " << lead << "\n";
        EXPECT_LT(lead, 0.75F) << prompt;
        break;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GreedyTest, testing::Values(kSmolLM2, kQwen),
                         [](const auto& info) { return info.param.name; });

class QwenTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = kQwen.path();
    if (path.empty()) GTEST_SKIP() << "scripts/deps has not brought this model";
    model_ = Model::load(path, {.threads = 2});
  }
  std::shared_ptr<Model> model_;
};

TEST_F(QwenTest, InfoTellsWhatTheFileHolds) {
  const ModelInfo info = model_->info();
  EXPECT_EQ(info.architecture, "qwen2");
  EXPECT_EQ(info.layers, 24);
  EXPECT_EQ(info.d_model, 896);
  EXPECT_EQ(info.heads, 14);
  EXPECT_EQ(info.kv_heads, 2);
  EXPECT_EQ(info.key_dim, 64);
  EXPECT_EQ(info.vocabulary, 151936);
  EXPECT_EQ(info.context_length, 32768);
  EXPECT_EQ(info.window, 0);
  EXPECT_TRUE(info.has_chat_template);
  for (const char* type : {"Q5_0", "Q8_0", "Q4_K", "Q6_K"})
    EXPECT_NE(info.weight_types.find(type), std::string::npos) << info.weight_types;
}

TEST_F(QwenTest, ChatsInItsOwnTemplate) {
  Session session(model_);
  session.append_messages(std::vector<Message>{{"user", "What is the capital of France? One word."}}, true);
  EXPECT_TRUE(
      session.text().ends_with("<|im_start|>user\nWhat is the capital of France? One word.<|im_end|>\n"
                               "<|im_start|>assistant\n"))
      << session.text();
  const Generation reply = session.generate({.max_tokens = 16});
  EXPECT_NE(reply.text.find("Paris"), std::string::npos) << reply.text;
  EXPECT_EQ(reply.stop, StopReason::end_token);
}

}  // namespace
}  // namespace kvedit
