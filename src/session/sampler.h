// Choosing the next token from logits, through libllama's samplers.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kvedit/session.h"

struct llama_sampler;

namespace kvedit {

class Sampler {
 public:
  /// Throws Error(invalid_argument) for a value out of its range. before: the tokens that the
  /// repetition penalty looks back on.
  Sampler(const GenerateOptions& options, int vocabulary, int context_length, std::span<const Token> before);
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  Token sample(std::span<const float> logits);

 private:
  llama_sampler* chain_ = nullptr;  // null: plain greedy
  struct Candidates;
  std::unique_ptr<Candidates> candidates_;
};

}  // namespace kvedit
