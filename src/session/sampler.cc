#include "session/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <regex>

#include "llama.h"
#include "model/ggml_log.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr int kMirostatCandidates = 100;  // as in llama.cpp
constexpr size_t kMostNested = 500;       // parentheses of a grammar, which are read by recursion
constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Free {
  void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
};
using OwnedSampler = std::unique_ptr<llama_sampler, Free>;

template <typename Number>
void check(bool holds, std::string_view what, Number value, std::string_view range) {
  if (!holds) fail(ErrorCode::invalid_argument, "generate", what, " ", value, " is not ", range);
}

void check_penalties(const GenerateOptions& s) {
  check(s.repetition_penalty > 0, "repetition penalty", s.repetition_penalty, "above 0");
  check(std::isfinite(s.frequency_penalty), "frequency penalty", s.frequency_penalty, "a number");
  check(std::isfinite(s.presence_penalty), "presence penalty", s.presence_penalty, "a number");
  check(s.penalty_window >= 0, "penalty window", s.penalty_window, "0 or more");
  check(s.dry_multiplier >= 0 && std::isfinite(s.dry_multiplier), "DRY multiplier", s.dry_multiplier,
        "0 or more");
  check(s.dry_base >= 1 && std::isfinite(s.dry_base), "DRY base", s.dry_base, "1 or more");
  check(s.dry_allowed_length >= 0, "DRY allowed length", s.dry_allowed_length, "0 or more");
  check(s.dry_window >= 0, "DRY window", s.dry_window, "0 or more");
}

void check_draw(const GenerateOptions& s) {
  check(s.top_n_sigma >= 0 && std::isfinite(s.top_n_sigma), "top-n-sigma", s.top_n_sigma, "0 or more");
  check(s.top_k >= 0, "top-k", s.top_k, "0 or more");
  check(s.typical_p > 0 && s.typical_p <= 1, "typical-p", s.typical_p, "in (0, 1]");
  check(s.top_p > 0 && s.top_p <= 1, "top-p", s.top_p, "in (0, 1]");
  check(s.min_p >= 0 && s.min_p <= 1, "min-p", s.min_p, "in [0, 1]");
  check(s.xtc_probability >= 0 && s.xtc_probability <= 1, "XTC probability", s.xtc_probability, "in [0, 1]");
  check(s.xtc_threshold >= 0 && s.xtc_threshold <= 1, "XTC threshold", s.xtc_threshold, "in [0, 1]");
  check(s.temperature >= 0 && std::isfinite(s.temperature), "temperature", s.temperature, "0 or more");
  check(s.temperature_range >= 0 && std::isfinite(s.temperature_range), "temperature range",
        s.temperature_range, "0 or more");
  check(s.temperature_exponent > 0 && std::isfinite(s.temperature_exponent), "temperature exponent",
        s.temperature_exponent, "above 0");
  check(s.mirostat >= 0 && s.mirostat <= 2, "mirostat", s.mirostat, "0, 1 or 2");
  check(s.mirostat_tau > 0 && std::isfinite(s.mirostat_tau), "mirostat tau", s.mirostat_tau, "above 0");
  check(s.mirostat_eta > 0 && s.mirostat_eta <= 1, "mirostat eta", s.mirostat_eta, "in (0, 1]");
}

void check_token(Token token, int vocabulary, std::string_view what) {
  if (token < 0 || token >= vocabulary) {
    fail(ErrorCode::out_of_range, "generate", what, " ", token, " is outside the vocabulary of ", vocabulary);
  }
}

void check_options(const GenerateOptions& o, int vocabulary) {
  check(o.max_tokens >= 1, "max tokens", o.max_tokens, "at least 1");
  check(o.min_tokens >= 0, "min tokens", o.min_tokens, "0 or more");
  check(o.top_scores >= -1 && o.top_scores <= vocabulary, "top scores", o.top_scores,
        cat("-1 to ", vocabulary));
  check_penalties(o);
  check_draw(o);
  for (const auto& [token, bias] : o.logit_bias) {
    check_token(token, vocabulary, "logit bias of token");
    check(std::isfinite(bias) || bias == kNever, "logit bias", bias, "a number or -infinity");
  }
  for (const Token token : o.end_tokens) check_token(token, vocabulary, "end token");
  for (const Token token : o.grammar.trigger_tokens) check_token(token, vocabulary, "trigger token");
}

std::vector<const char*> c_strings(const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  return pointers;
}

void check_nesting(const Grammar& grammar) {
  size_t depth = 0;
  for (const char c : grammar.rules) {
    depth += c == '(';
    depth -= c == ')' && depth > 0;
    if (depth > kMostNested) {
      fail(ErrorCode::invalid_argument, "generate", "a grammar of more than ", kMostNested,
           " parentheses inside each other");
    }
  }
}

// libllama reads them likewise, but loses memory where one is none.
void check_triggers(const Grammar& grammar) {
  for (const std::string& trigger : grammar.triggers) {
    check_text(trigger, "generate", "a grammar's trigger");
    try {
      const std::regex read(trigger);
    } catch (const std::regex_error& error) {
      fail(ErrorCode::invalid_argument, "generate", "the grammar's trigger \"", trigger,
           "\" is no regular expression: ", error.what());
    }
  }
}

// Throws for one that cannot be read, with the reader's own words.
OwnedSampler make_grammar(const Grammar& grammar, const llama_vocab* vocabulary) {
  if (grammar.rules.empty()) return nullptr;
  check_text(grammar.rules, "generate", "grammar");
  check_text(grammar.root, "generate", "the grammar's root");
  check_nesting(grammar);
  check_triggers(grammar);
  take_ggml_error();
  const std::vector<const char*> triggers = c_strings(grammar.triggers);
  const bool lazy = !triggers.empty() || !grammar.trigger_tokens.empty();
  OwnedSampler made(
      lazy ? llama_sampler_init_grammar_lazy_patterns(vocabulary, grammar.rules.c_str(), grammar.root.c_str(),
                                                      const_cast<const char**>(triggers.data()),
                                                      triggers.size(), grammar.trigger_tokens.data(),
                                                      grammar.trigger_tokens.size())
           : llama_sampler_init_grammar(vocabulary, grammar.rules.c_str(), grammar.root.c_str()));
  if (!made) {
    const std::string error = take_ggml_error();
    fail(ErrorCode::invalid_argument, "generate",
         "the grammar cannot be read: ", error.substr(0, error.find('\n')));
  }
  return made;
}

}  // namespace

struct Sampler::State {
  OwnedSampler chain;    // null: the likeliest token
  OwnedSampler grammar;  // null: none
  std::vector<std::pair<Token, float>> bias;
  std::vector<Token> ends;
  int made = 0, min_tokens = 0;
  std::vector<llama_token_data> candidates;

  void add(llama_sampler* sampler) { llama_sampler_chain_add(chain.get(), sampler); }
  void make_chain(const GenerateOptions& options, const llama_vocab* vocabulary, int size,
                  int context_length);
  void add_draw(const GenerateOptions& s, int size);

  llama_token_data_array fill(std::span<const float> logits);
  Token draw(llama_token_data_array& array) const;
  bool fits_grammar(Token token) const;
};

void Sampler::State::make_chain(const GenerateOptions& o, const llama_vocab* vocabulary, int size,
                                int context_length) {
  const int window = std::min(o.penalty_window, context_length);  // a longer one would only cost memory
  const bool penalties =
      window > 0 && (o.repetition_penalty != 1 || o.frequency_penalty != 0 || o.presence_penalty != 0);
  if (o.temperature == 0 && !penalties && o.dry_multiplier == 0) return;
  chain.reset(llama_sampler_chain_init(llama_sampler_chain_default_params()));
  if (penalties) {
    add(llama_sampler_init_penalties(size, window, o.repetition_penalty, o.frequency_penalty,
                                     o.presence_penalty));
  }
  if (o.dry_multiplier > 0) {
    std::vector<const char*> breakers = c_strings(o.dry_breakers);
    const int dry_window = o.dry_window > 0 ? std::min(o.dry_window, context_length) : context_length;
    add(llama_sampler_init_dry(vocabulary, o.dry_multiplier, o.dry_base, o.dry_allowed_length, dry_window,
                               breakers.data(), breakers.size()));
  }
  if (o.temperature == 0) return add(llama_sampler_init_greedy());
  add_draw(o, size);
}

void Sampler::State::add_draw(const GenerateOptions& s, int size) {
  const uint32_t seed =
      std::min(s.seed, LLAMA_DEFAULT_SEED - 1);  // libllama takes that for any seed it likes
  if (s.top_n_sigma > 0) add(llama_sampler_init_top_n_sigma(s.top_n_sigma));
  if (s.mirostat == 0) {
    if (s.top_k > 0) add(llama_sampler_init_top_k(s.top_k));
    if (s.typical_p < 1) add(llama_sampler_init_typical(s.typical_p, 1));
    if (s.top_p < 1) add(llama_sampler_init_top_p(s.top_p, 1));
    if (s.min_p > 0) add(llama_sampler_init_min_p(s.min_p, 1));
    if (s.xtc_probability > 0) {
      add(llama_sampler_init_xtc(s.xtc_probability, s.xtc_threshold, 1, seed));
    }
  }
  add(s.temperature_range > 0
          ? llama_sampler_init_temp_ext(s.temperature, s.temperature_range, s.temperature_exponent)
          : llama_sampler_init_temp(s.temperature));
  if (s.mirostat == 1) {
    add(llama_sampler_init_mirostat(size, seed, s.mirostat_tau, s.mirostat_eta, kMirostatCandidates));
  } else if (s.mirostat == 2) {
    add(llama_sampler_init_mirostat_v2(seed, s.mirostat_tau, s.mirostat_eta));
  } else {
    add(llama_sampler_init_dist(seed));
  }
}

Sampler::Sampler(const GenerateOptions& options, const Tokenizer& tokenizer, int context_length,
                 std::span<const Token> before)
    : state_(std::make_unique<State>()) {
  const int size = tokenizer.size();
  check_options(options, size);
  state_->bias = options.logit_bias;
  state_->min_tokens = options.min_tokens;
  if (options.min_tokens > 0) {
    state_->ends = options.end_tokens;
    for (Token token = 0; token < size; token++) {
      if (tokenizer.is_end(token)) state_->ends.push_back(token);
    }
  }
  state_->grammar = make_grammar(options.grammar, tokenizer.vocabulary());
  state_->make_chain(options, tokenizer.vocabulary(), size, context_length);
  if (!state_->chain) return;
  const int dry_window = options.dry_window > 0 ? options.dry_window : context_length;
  const int window = std::max(options.penalty_window, options.dry_multiplier > 0 ? dry_window : 0);
  const size_t look_back = std::min(before.size(), static_cast<size_t>(window));
  for (const Token token : before.last(look_back)) llama_sampler_accept(state_->chain.get(), token);
}

Sampler::~Sampler() = default;

llama_token_data_array Sampler::State::fill(std::span<const float> logits) {
  candidates.resize(logits.size());
  for (size_t i = 0; i < logits.size(); i++) candidates[i] = {static_cast<llama_token>(i), logits[i], 0};
  for (const auto& [token, added] : bias) candidates[token].logit += added;
  if (made < min_tokens) {
    for (const Token token : ends) candidates[token].logit = kNever;
  }
  return {candidates.data(), candidates.size(), -1, false};
}

Token Sampler::State::draw(llama_token_data_array& array) const {
  const auto* const best = std::max_element(array.data, array.data + array.size,
                                            [](const auto& a, const auto& b) { return a.logit < b.logit; });
  if (best->logit == kNever) {
    fail(ErrorCode::invalid_argument, "generate", "grammar and logit bias leave no token");
  }
  if (!chain) return best->id;
  // Samplers may keep a token that is never to be drawn, where too few others are left.
  array.size = std::remove_if(array.data, array.data + array.size,
                              [](const llama_token_data& c) { return c.logit == kNever; }) -
               array.data;
  llama_sampler_apply(chain.get(), &array);
  return array.data[array.selected].id;
}

bool Sampler::State::fits_grammar(Token token) const {
  llama_token_data one{token, 1, 0};
  llama_token_data_array array{&one, 1, -1, false};
  llama_sampler_apply(grammar.get(), &array);
  return one.logit != kNever;
}

Token Sampler::sample(std::span<const float> logits) {
  State& s = *state_;
  llama_token_data_array array = s.fill(logits);
  Token token = s.draw(array);
  // To ask of every token whether the grammar allows it is slow, and the one drawn mostly is.
  if (s.grammar && !s.fits_grammar(token)) {
    array = s.fill(logits);
    llama_sampler_apply(s.grammar.get(), &array);
    token = s.draw(array);
  }
  if (s.chain) llama_sampler_accept(s.chain.get(), token);
  if (s.grammar) llama_sampler_accept(s.grammar.get(), token);
  s.made++;
  return token;
}

std::vector<TokenScore> scores_of(std::span<const float> logits, Token token, int count) {
  const float most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
  const double log_sum = most + std::log(sum);
  const auto score = [&](Token t) {
    return TokenScore{t, static_cast<float>(static_cast<double>(logits[t]) - log_sum)};
  };
  std::vector<Token> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + std::min<ptrdiff_t>(count, static_cast<ptrdiff_t>(order.size()));
  std::partial_sort(order.begin(), end, order.end(),
                    [&](Token a, Token b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  std::vector<TokenScore> scores = {score(token)};
  std::transform(order.begin(), end, std::back_inserter(scores), score);
  return scores;
}

}  // namespace kvedit
