// Next-token distributions over a text that is forced, and how far two of them are apart.
#pragma once

#include <span>
#include <vector>

#include "kvedit/session.h"

namespace kvedit::eval {

/// Log-probabilities of the next token before each of `tokens` (not empty), [tokens][vocabulary].
std::vector<float> forced(const Session& session, std::span<const Token> tokens);

/// Mean over the tokens of KL(exact || now), in nats; both [tokens][vocabulary].
double mean_kl(std::span<const float> exact, std::span<const float> now, size_t tokens);

/// Sum of the tokens' log-probabilities in [tokens][vocabulary].
double log_likelihood(std::span<const float> logs, std::span<const Token> tokens);

}  // namespace kvedit::eval
