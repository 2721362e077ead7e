#include "session/sampler.h"

#include <algorithm>

#include "llama.h"
#include "tools/text.h"

namespace kvedit {
namespace {

void check(bool holds, std::string_view what, double value, std::string_view range) {
  if (!holds) fail(ErrorCode::invalid_argument, "generate", what, " ", value, " is not ", range);
}

void check_options(const GenerateOptions& o) {
  check(o.max_tokens >= 1, "max tokens", o.max_tokens, "at least 1");
  check(o.temperature >= 0, "temperature", o.temperature, "0 or more");
  check(o.top_k >= 0, "top-k", o.top_k, "0 or more");
  check(o.top_p > 0 && o.top_p <= 1, "top-p", o.top_p, "in (0, 1]");
  check(o.min_p >= 0 && o.min_p <= 1, "min-p", o.min_p, "in [0, 1]");
  check(o.repetition_penalty > 0, "repetition penalty", o.repetition_penalty, "above 0");
  check(o.penalty_window >= 0, "penalty window", o.penalty_window, "0 or more");
}

}  // namespace

struct Sampler::Candidates {
  std::vector<llama_token_data> data;
};

Sampler::Sampler(const GenerateOptions& options, int vocabulary, int context_length,
                 std::span<const Token> before)
    : candidates_(std::make_unique<Candidates>()) {
  check_options(options);
  // A window longer than the context would only cost memory.
  const int penalty_window = std::min(options.penalty_window, context_length);
  const bool penalty = options.repetition_penalty != 1 && penalty_window > 0;
  if (options.temperature == 0 && !penalty) return;
  chain_ = llama_sampler_chain_init(llama_sampler_chain_default_params());
  const auto add = [&](llama_sampler* s) { llama_sampler_chain_add(chain_, s); };
  if (penalty)
    add(llama_sampler_init_penalties(vocabulary, penalty_window, options.repetition_penalty, 0, 0));
  if (options.temperature == 0) {
    add(llama_sampler_init_greedy());
  } else {
    if (options.top_k > 0) add(llama_sampler_init_top_k(options.top_k));
    if (options.top_p < 1) add(llama_sampler_init_top_p(options.top_p, 1));
    if (options.min_p > 0) add(llama_sampler_init_min_p(options.min_p, 1));
    add(llama_sampler_init_temp(options.temperature));
    // libllama takes its largest seed for a wish to be surprised.
    add(llama_sampler_init_dist(std::min(options.seed, LLAMA_DEFAULT_SEED - 1)));
  }
  const size_t look_back = std::min(before.size(), static_cast<size_t>(penalty_window));
  for (const Token token : before.last(look_back)) llama_sampler_accept(chain_, token);
}

Sampler::~Sampler() {
  if (chain_) llama_sampler_free(chain_);
}

Token Sampler::sample(std::span<const float> logits) {
  if (!chain_) return static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  auto& data = candidates_->data;
  data.resize(logits.size());
  for (size_t i = 0; i < logits.size(); i++) data[i] = {static_cast<llama_token>(i), logits[i], 0};
  llama_token_data_array array{data.data(), data.size(), -1, false};
  llama_sampler_apply(chain_, &array);
  const Token token = array.data[array.selected].id;
  llama_sampler_accept(chain_, token);
  return token;
}

}  // namespace kvedit
