// Choosing the next token from logits, through libllama's samplers.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kvedit/generate.h"
#include "model/tokenizer.h"

namespace kvedit {

class Sampler {
 public:
  /// Throws Error(invalid_argument) for a value out of its range or a grammar that cannot be read,
  /// Error(out_of_range) for a token outside the vocabulary. before: the text that penalties look back on.
  Sampler(const GenerateOptions& options, const Tokenizer& tokenizer, int context_length,
          std::span<const Token> before);
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  /// Throws Error(invalid_argument) where bias and grammar leave no token.
  Token sample(std::span<const float> logits);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Returns the scores of a token and of the `count` likeliest, these behind it in order.
std::vector<TokenScore> scores_of(std::span<const float> logits, Token token, int count);

}  // namespace kvedit
