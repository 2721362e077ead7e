// Generation: how tokens are drawn, what is told of them, and why it ends.
#include <gtest/gtest.h>
#include <llama.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "session/model_impl.h"
#include "session_testing.h"

namespace kvedit {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

class GenerateTest : public testing::TestWithParam<std::string> {
 protected:
  GenerateTest() : model_(load(spec_of(GetParam()), exact_options())) {}
  const Tokenizer& tokenizer() const { return implementation(*model_)->tokenizer(); }
  // What a grammar's text looks like, drawn often.
  std::string follow(const std::string& rules, uint32_t seed, const GenerateOptions& more = {}) const {
    Session session = filled(model_);
    session.append_tokens(std::vector<Token>{3 + '.'});  // no half character in front
    GenerateOptions options = more;
    options.grammar.rules = rules;
    options.temperature = 5;
    options.seed = seed;
    const Generation made = session.generate(options);
    EXPECT_EQ(made.stop, StopReason::end_token) << made.text;
    return made.text;
  }
  std::shared_ptr<Model> model_;
};

TEST_P(GenerateTest, ScoresAreTheModelsOwnDistribution) {
  Session session = filled(model_);
  const std::vector<float> logits = session.logits();
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  // Whatever else bends it.
  const Generation made = session.generate({.max_tokens = 3,
                                            .temperature = 2,
                                            .top_k = 20,
                                            .repetition_penalty = 1.5F,
                                            .logit_bias = {{7, 3.0F}},
                                            .seed = 5,
                                            .top_scores = 4});
  ASSERT_EQ(made.scores.size(), made.tokens.size());
  ASSERT_EQ(made.top.size(), made.tokens.size());
  EXPECT_EQ(made.scores[0].token, made.tokens[0]);
  EXPECT_NEAR(made.scores[0].log_probability, logits[made.tokens[0]] - std::log(sum), 1e-4);
  ASSERT_EQ(made.top[0].size(), 4U);
  EXPECT_EQ(made.top[0][0].token, std::max_element(logits.begin(), logits.end()) - logits.begin());
  for (size_t i = 0; i < 4; i++) {
    EXPECT_NEAR(made.top[0][i].log_probability, logits[made.top[0][i].token] - std::log(sum), 1e-4);
    EXPECT_EQ(std::count_if(logits.begin(), logits.end(),
                            [&](float logit) { return logit > logits[made.top[0][i].token]; }),
              static_cast<ptrdiff_t>(i));
  }
  EXPECT_TRUE(filled(model_).generate({.max_tokens = 2}).scores.empty());
  const Generation alone = filled(model_).generate({.max_tokens = 2, .top_scores = 0});
  EXPECT_EQ(alone.scores.size(), 2U);
  EXPECT_TRUE(alone.top[0].empty());
  const int all = model_->info().vocabulary;
  const Generation every = filled(model_).generate({.max_tokens = 1, .top_scores = all});
  double whole = 0;
  for (const TokenScore& score : every.top[0]) whole += std::exp(score.log_probability);
  EXPECT_NEAR(whole, 1, 1e-5);
}

TEST_P(GenerateTest, TokensAreToldAsTheyAreMade) {
  Session session = filled(model_);
  std::vector<Token> tokens;
  std::vector<TokenScore> scores;
  std::string text, from_tokens;
  const Generation made = session.generate({.max_tokens = 40,
                                            .temperature = 5,
                                            .seed = 2,
                                            .top_scores = 1,
                                            .on_text =
                                                [&](std::string_view part) {
                                                  text += part;
                                                  return true;
                                                },
                                            .on_token =
                                                [&](const MadeToken& token) {
                                                  tokens.push_back(token.token);
                                                  scores.push_back(token.score);
                                                  from_tokens += token.text;
                                                  EXPECT_EQ(token.top.size(), 1U);
                                                  return true;
                                                }});
  EXPECT_EQ(tokens, made.tokens);
  EXPECT_EQ(scores, made.scores);
  EXPECT_EQ(text, made.text);
  EXPECT_EQ(made.text.substr(0, from_tokens.size()), from_tokens);
  const Generation cut =
      session.generate({.max_tokens = 10, .temperature = 5, .on_token = [&](const MadeToken&) {
                          return tokens.clear(), false;
                        }});
  EXPECT_EQ(cut.tokens.size(), 1U);
}

TEST_P(GenerateTest, EndsAreTold) {
  GenerateOptions draw{.max_tokens = 30, .temperature = 5};
  Generation all;
  while (all.tokens.size() < 30) {
    draw.seed++;
    all = filled(model_).generate(draw);
  }
  EXPECT_EQ(all.stop, StopReason::max_tokens);
  GenerateOptions ends = draw;
  ends.end_tokens = {all.tokens[4]};
  const Generation ended = filled(model_).generate(ends);
  EXPECT_EQ(ended.stop, StopReason::end_token);
  EXPECT_LE(ended.tokens.size(), 5U);
  GenerateOptions late = ends;
  late.min_tokens = 10;
  EXPECT_GE(filled(model_).generate(late).tokens.size(), 10U);
  GenerateOptions stops = draw;
  stops.stop = {"never made, surely", all.text.substr(all.text.size() / 2, 4)};
  const Generation stopped = filled(model_).generate(stops);
  EXPECT_EQ(stopped.stop, StopReason::stop_string);
  EXPECT_EQ(stopped.stop_string, stops.stop[1]);
  EXPECT_EQ(stopped.text, all.text.substr(0, all.text.find(stops.stop[1])));
}

TEST_P(GenerateTest, ACallbackThatThrowsLosesNothing) {
  Session session = filled(model_);
  int calls = 0;
  const Generation made = session.generate(
      {.max_tokens = 10, .temperature = 5, .min_tokens = 10, .on_token = [&](const MadeToken&) -> bool {
         if (++calls == 3) throw std::runtime_error("the caller's");
         return true;
       }});
  EXPECT_EQ(made.stop, StopReason::error);
  EXPECT_EQ(made.error, "the caller's");
  EXPECT_EQ(made.tokens.size(), 3U);
  Session exact = fresh(model_, session.tokens());
  EXPECT_EQ(session.stats().tokens, 203);
  EXPECT_LT(from(exact, session).mean, 1e-6);
}

// Drafts: right, wrong, and in between; greedy and drawn.
TEST_P(GenerateTest, DraftsChangeNothingButThePasses) {
  for (const float temperature : {0.0F, 3.0F}) {
    GenerateOptions options{
        .max_tokens = 24, .temperature = temperature, .repetition_penalty = 1.2F, .seed = 8, .top_scores = 2};
    Session plain = filled(model_);
    const Generation wanted = plain.generate(options);
    std::vector<Token> whole = filled(model_).tokens();
    whole.insert(whole.end(), wanted.tokens.begin(), wanted.tokens.end());
    // Every `wrong`-th token of the draft is another one.
    for (const int wrong : {1, 3, 1000}) {
      int calls = 0;
      options.draft = [&](std::span<const Token> transcript, int most) {
        calls++;
        EXPECT_TRUE(std::equal(transcript.begin(), transcript.end(), whole.begin()));
        std::vector<Token> guess;
        for (size_t i = transcript.size();
             i < whole.size() && static_cast<int>(guess.size()) < std::min(most, 6); i++)
          guess.push_back(i % wrong == 0 ? (whole[i] + 1) % model_->info().vocabulary : whole[i]);
        return guess;
      };
      Session drafted = filled(model_);
      const Generation made = drafted.generate(options);
      EXPECT_EQ(made.tokens, wanted.tokens) << wrong;
      EXPECT_EQ(made.text, wanted.text);
      EXPECT_EQ(made.stop, wanted.stop);
      for (size_t i = 0; i < made.scores.size(); i++)
        EXPECT_NEAR(made.scores[i].log_probability, wanted.scores[i].log_probability, 1e-3);
      EXPECT_EQ(drafted.positions(), plain.positions());
      EXPECT_EQ(drafted.stats().entries, plain.stats().entries);
      EXPECT_LT(from(plain, drafted).mean, 1e-6);
      const auto tokens = static_cast<int>(wanted.tokens.size());
      EXPECT_TRUE(wrong != 1 || made.draft_accepted == 0);
      EXPECT_TRUE(wrong != 1000 || calls <= tokens / 7 + 2) << calls;
      EXPECT_LE(made.draft_accepted, made.drafted);
    }
  }
}

TEST(LookupDraft, IsWhatFollowedTheLastPlace) {
  const std::vector<Token> text = {1, 2, 3, 4, 5, 9, 2, 3, 7, 8, 1, 2, 3};
  EXPECT_EQ(lookup_draft(text, 2), (std::vector<Token>{4, 5}));  // behind three tokens, not the later two
  EXPECT_EQ(lookup_draft(text, 100), (std::vector<Token>{4, 5, 9, 2, 3, 7, 8, 1, 2, 3}));
  EXPECT_EQ(lookup_draft(std::span(text).last(7), 1), (std::vector<Token>{7}));
  EXPECT_EQ(lookup_draft(std::vector<Token>{5, 5, 5, 5}, 3), (std::vector<Token>{5}));
  EXPECT_TRUE(lookup_draft(std::span(text).first(6), 3).empty());
  EXPECT_TRUE(lookup_draft(std::span(text).first(1), 3).empty());
  EXPECT_TRUE(lookup_draft({}, 3).empty());
  EXPECT_TRUE(lookup_draft(text, 0).empty());
}

TEST_P(GenerateTest, DraftsKeepToTheContextAndTheVocabulary) {
  Session session = filled(model_, 500);
  GenerateOptions options{.max_tokens = 100, .temperature = 3, .min_tokens = 100};
  options.draft = [](std::span<const Token>, int most) { return std::vector<Token>(most + 50, 9); };
  const Generation made = session.generate(options);
  EXPECT_EQ(made.stop, StopReason::context_full);
  EXPECT_EQ(session.stats().tokens, 512);
  Session other = filled(model_);
  const View before(other);
  options.draft = [](std::span<const Token>, int) { return std::vector<Token>{-1}; };
  EXPECT_EQ(code_of([&] { other.generate(options); }), ErrorCode::out_of_range);
  EXPECT_TRUE(View(other) == before);
}

// Each sampler against libllama's own, put together by hand.
TEST_P(GenerateTest, DrawsAreLibllamasChain) {
  const int size = model_->info().vocabulary, context = model_->info().context_length;
  const llama_vocab* const vocabulary = tokenizer().vocabulary();
  const char* breakers[] = {"\n", ":", "\"", "*"};
  using Chain = std::vector<llama_sampler*>;
  const std::vector<std::pair<GenerateOptions, Chain>> cases = {
      {{.temperature = 2}, {llama_sampler_init_temp(2), llama_sampler_init_dist(7)}},
      {{.temperature = 2, .temperature_range = 1, .temperature_exponent = 2},
       {llama_sampler_init_temp_ext(2, 1, 2), llama_sampler_init_dist(7)}},
      {{.temperature = 2, .top_k = 9, .top_p = 0.8F, .min_p = 0.1F, .typical_p = 0.9F},
       {llama_sampler_init_top_k(9), llama_sampler_init_typical(0.9F, 1), llama_sampler_init_top_p(0.8F, 1),
        llama_sampler_init_min_p(0.1F, 1), llama_sampler_init_temp(2), llama_sampler_init_dist(7)}},
      {{.temperature = 2, .top_n_sigma = 1.5F},
       {llama_sampler_init_top_n_sigma(1.5F), llama_sampler_init_temp(2), llama_sampler_init_dist(7)}},
      {{.temperature = 2, .xtc_probability = 0.7F, .xtc_threshold = 0.01F},
       {llama_sampler_init_xtc(0.7F, 0.01F, 1, 7), llama_sampler_init_temp(2), llama_sampler_init_dist(7)}},
      {{.temperature = 2, .mirostat = 1, .mirostat_tau = 3},
       {llama_sampler_init_temp(2), llama_sampler_init_mirostat(size, 7, 3, 0.1F, 100)}},
      {{.temperature = 2, .mirostat = 2, .mirostat_tau = 3},
       {llama_sampler_init_temp(2), llama_sampler_init_mirostat_v2(7, 3, 0.1F)}},
      {{.repetition_penalty = 1.5F,
        .frequency_penalty = 0.3F,
        .presence_penalty = 0.2F,
        .penalty_window = 30},
       {llama_sampler_init_penalties(size, 30, 1.5F, 0.3F, 0.2F), llama_sampler_init_greedy()}},
      {{.dry_multiplier = 2, .dry_allowed_length = 1},
       {llama_sampler_init_dry(vocabulary, 2, 1.75F, 1, context, breakers, 4), llama_sampler_init_greedy()}}};
  for (size_t i = 0; i < cases.size(); i++) {
    GenerateOptions options = cases[i].first;
    options.max_tokens = 20;
    options.seed = 7;
    llama_sampler* chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    for (llama_sampler* part : cases[i].second) llama_sampler_chain_add(chain, part);
    Session ours = filled(model_), reference = filled(model_);
    const Generation made = ours.generate(options);
    for (const Token token : reference.tokens()) llama_sampler_accept(chain, token);
    std::vector<Token> wanted;
    for (int n = 0; n < 20 && (wanted.empty() || !model_->is_end(wanted.back())); n++) {
      std::vector<llama_token_data> data;
      for (const float logit : reference.logits())
        data.push_back({static_cast<llama_token>(data.size()), logit, 0});
      llama_token_data_array array{data.data(), data.size(), -1, false};
      llama_sampler_apply(chain, &array);
      wanted.push_back(array.data[array.selected].id);
      llama_sampler_accept(chain, wanted.back());
      reference.append_tokens(std::span(wanted).last(1));
    }
    llama_sampler_free(chain);
    EXPECT_EQ(made.tokens, wanted) << "case " << i;
  }
}

TEST_P(GenerateTest, BiasBansAndFavours) {
  Session session = filled(model_);
  const Token likeliest = session.fork().generate({.max_tokens = 1}).tokens[0];
  EXPECT_NE(session.fork().generate({.max_tokens = 1, .logit_bias = {{likeliest, kNever}}}).tokens[0],
            likeliest);
  EXPECT_EQ(session.fork().generate({.max_tokens = 3, .temperature = 9, .logit_bias = {{42, 1e6F}}}).tokens,
            (std::vector<Token>{42, 42, 42}));
  std::vector<std::pair<Token, float>> all;
  for (Token token = 0; token < model_->info().vocabulary; token++) all.emplace_back(token, kNever);
  EXPECT_EQ(code_of([&] { session.generate({.logit_bias = all}); }), ErrorCode::invalid_argument);
  all.erase(all.begin() + 50);
  EXPECT_EQ(session.generate({.max_tokens = 1, .temperature = 2, .top_p = 0.5F, .logit_bias = all}).tokens,
            (std::vector<Token>{50}));
}

TEST_P(GenerateTest, TextFollowsItsGrammar) {
  for (uint32_t seed = 0; seed < 8; seed++) {
    const std::string answer = follow("root ::= \"yes\" | \"no\"", seed);
    EXPECT_TRUE(answer == "yes" || answer == "no") << answer;
    const std::string number = follow("root ::= [1-9] [0-9]{3} (\".\" [0-9])?", seed);
    EXPECT_TRUE(number.size() == 4 || number.size() == 6) << number;
    EXPECT_EQ(number.find_first_not_of("0123456789."), std::string::npos) << number;
    GenerateOptions other;
    other.grammar.root = "digits";
    EXPECT_EQ(follow("root ::= \"a\"\ndigits ::= \"12\"", seed, other), "12");
  }
}

TEST_P(GenerateTest, ALazyGrammarWaitsForItsTrigger) {
  Session session = filled(model_);
  GenerateOptions options{.max_tokens = 200, .temperature = 5, .seed = 3};
  options.logit_bias = {{3 + '{', 8.0F}};  // so that it is made at some time
  options.grammar.rules = "root ::= \"{call\" [0-9]+ \"}\"";
  options.grammar.triggers = {"[\\s\\S]*?(\\{)[\\s\\S]*"};
  const Generation made = session.generate(options);
  const size_t at = made.text.find('{');
  ASSERT_NE(at, std::string::npos) << made.text;
  EXPECT_GT(at, 0U);
  EXPECT_EQ(made.text.substr(at, 5), "{call") << made.text;
  EXPECT_EQ(made.text.substr(at).find_first_not_of("{call0123456789}"), std::string::npos) << made.text;
}

TEST_P(GenerateTest, BadOptionsAreNamedAndChangeNothing) {
  Session session = filled(model_);
  const View before(session);
  const std::vector<std::pair<GenerateOptions, std::string>> bad = {
      {{.max_tokens = 0}, "max tokens 0"},
      {{.temperature = -1}, "temperature -1"},
      {{.temperature = 1, .temperature_range = -1}, "temperature range -1"},
      {{.top_k = -1}, "top-k -1"},
      {{.top_p = 0}, "top-p 0"},
      {{.min_p = 2}, "min-p 2"},
      {{.typical_p = 0}, "typical-p 0"},
      {{.top_n_sigma = -1}, "top-n-sigma -1"},
      {{.xtc_probability = 1.5F}, "XTC probability 1.5"},
      {{.mirostat = 3}, "mirostat 3"},
      {{.repetition_penalty = 0}, "repetition penalty 0"},
      {{.presence_penalty = NAN}, "presence penalty nan"},
      {{.penalty_window = -1}, "penalty window -1"},
      {{.dry_multiplier = -1}, "DRY multiplier -1"},
      {{.dry_multiplier = 1, .dry_base = 0}, "DRY base 0"},
      {{.logit_bias = {{100000, 1.0F}}}, "token 100000"},
      {{.logit_bias = {{5, NAN}}}, "logit bias nan"},
      {{.grammar = {.rules = "root ::= nothing"}}, "nothing"},
      {{.grammar = {.rules = "root = \"a\""}}, "::="},
      {{.grammar = {.rules = "other ::= \"a\""}}, "root"},
      {{.grammar = {.rules = "root ::= root \"a\" | \"b\""}}, "left recursion"},
      {{.grammar = {.rules = "root ::= " + std::string(5000, '(')}}, "500 parentheses"},
      {{.grammar = {.rules = "root ::= \"a\"", .triggers = {"("}}}, "grammar"},
      {{.grammar = {.rules = std::string("root ::= \0", 10)}}, "NUL"},
      {{.min_tokens = -1}, "min tokens -1"},
      {{.end_tokens = {-3}}, "end token -3"},
      {{.top_scores = -2}, "top scores -2"},
      {{.top_scores = 1 << 20}, "top scores 1048576"}};
  for (const auto& [options, named] : bad) {
    try {
      session.generate(options);
      ADD_FAILURE() << named;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what() << " for " << named;
    }
  }
  EXPECT_TRUE(View(session) == before);
}

INSTANTIATE_TEST_SUITE_P(Architectures, GenerateTest, testing::Values("llama", "gemma3"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace kvedit
