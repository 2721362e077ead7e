// Text to read: English-like sentences, equal on every machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kvedit/model.h"

namespace kvedit::bench {

/// Makes sentences of words drawn from a fixed sequence; `seed` chooses it.
std::string prose(int sentences, unsigned seed = 1);

/// Makes `count` tokens of prose, the model's begin token first where it has one.
std::vector<Token> prose_tokens(const std::shared_ptr<Model>& model, int count);

/// Makes `count` tokens without meaning, for measuring memory without a tokenizer.
std::vector<Token> filler_tokens(int vocabulary, int count);

}  // namespace kvedit::bench
