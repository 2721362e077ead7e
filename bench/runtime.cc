#include "bench/runtime.h"

#include <algorithm>

#include "bench/measure.h"

namespace kvedit::bench {

Token most_likely(std::span<const float> logits) {
  return static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

Progress Runtime::progress(const std::string& what) const {
  Progress callback = progress_ ? progress_(name_ + ", " + what) : Progress();
  return callback ? callback : [](size_t, size_t) { return true; };
}

std::span<const Token> Runtime::text(int begin, int end) const {
  return std::span<const Token>(text_).subspan(begin, end - begin);
}

void Runtime::warm_up() {
  const int tokens = std::min(512, static_cast<int>(text_.size()) - 2);
  prefill(tokens);
  for (int i = 0; i < 2; i++) step(text_[tokens + i]);
  first_token_ms_.clear();
}

double Runtime::prefill(int tokens) {
  wait_until_idle();
  const Progress callback = progress("prefill");
  const Stopwatch timer;
  read(text(0, tokens), callback);
  const double ms = timer.ms();
  first_token_ms_[tokens].push_back(ms);
  return ms;
}

void Runtime::hold(int tokens) {
  if (!go_back(tokens)) {
    prefill(tokens);
    go_back(tokens);
  }
}

void Runtime::hold_measured(int tokens) {
  if (!first_token_ms(tokens)) prefill(tokens);
  hold(tokens);
}

double Runtime::decode(int cached, int tokens) {
  hold(cached);
  step(text_[cached]);  // wakes threads, makes the graph
  go_back(cached);
  wait_until_idle();
  tops_.clear();
  double ms = 0;
  for (int i = 0; i < tokens; i++) {
    const Step made = step(text_[cached + i]);
    ms += made.ms;
    tops_.push_back(made.top);
  }
  return 1e3 * tokens / ms;
}

int Runtime::prefills(int tokens) const {
  const auto found = first_token_ms_.find(tokens);
  return found == first_token_ms_.end() ? 0 : static_cast<int>(found->second.size());
}

std::optional<double> Runtime::first_token_ms(int tokens) const {
  const auto found = first_token_ms_.find(tokens);
  if (found == first_token_ms_.end()) return std::nullopt;
  return summarize(found->second).median;
}

}  // namespace kvedit::bench
