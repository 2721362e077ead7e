#include "eval/distribution.h"

#include <algorithm>
#include <cmath>

namespace kvedit::eval {

std::vector<float> forced(const Session& session, std::span<const Token> tokens) {
  std::vector<float> logs = session.logits_after(tokens.first(tokens.size() - 1));
  const size_t vocabulary = logs.size() / tokens.size();
  for (auto row = logs.begin(); row != logs.end(); row += static_cast<std::ptrdiff_t>(vocabulary)) {
    const auto end = row + static_cast<std::ptrdiff_t>(vocabulary);
    const float top = *std::max_element(row, end);
    double sum = 0;
    for (auto x = row; x != end; ++x) sum += std::exp(*x - top);
    const auto shift = static_cast<float>(top + std::log(sum));
    for (auto x = row; x != end; ++x) *x -= shift;
  }
  return logs;
}

double mean_kl(std::span<const float> exact, std::span<const float> now, size_t tokens) {
  double kl = 0;
  for (size_t i = 0; i < now.size(); i++) kl += std::exp(exact[i]) * (exact[i] - now[i]);
  return kl / static_cast<double>(tokens);
}

double log_likelihood(std::span<const float> logs, std::span<const Token> tokens) {
  const size_t vocabulary = logs.size() / tokens.size();
  double sum = 0;
  for (size_t i = 0; i < tokens.size(); i++) sum += logs[i * vocabulary + tokens[i]];
  return sum;
}

}  // namespace kvedit::eval
