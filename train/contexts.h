// What the eraser learns from: texts with spans to erase, and what is asked afterwards. An example is a
// function of the texts and its random numbers alone, so that an interrupted run goes on with the same ones.
#pragma once

#include <string>
#include <vector>

#include "eval/chat.h"
#include "eval/task.h"
#include "kvedit/model.h"
#include "train/facts.h"
#include "train/passages.h"

namespace kvedit::train {

/// Asked of a context, on a fork of its own.
struct Probe {
  std::string kind;           // "neighbours", "stale/unique", "fresh/retained": rows of the log
  std::vector<Token> before;  // read while the erased text is still in the cache
  std::vector<Token> after;   // and what is read once it is gone
  std::vector<Token> forced;  // compared after each of them; if there are none, what the exact cache answers
  int answer_tokens = 12;     // at most, of that answer
  int answer_before = 0;      // of its tokens, so many are read before the erase (stale)
};

struct Context {
  std::vector<Token> tokens;
  std::vector<Span> erased;
  std::vector<Probe> probes;
  std::string policy;  // evicted by it before the erase; empty: not evicted
  double keep = 1;
};

struct ContextSizes {
  int tokens = 900;  // at most, of a context
  int span_min = 4;  // of an erased span
  int span_max = 256;
  int neighbours = 64;    // compared after a span
  int questions = 4;      // at most, about a context
  double evicted = 0.15;  // share of contexts that are evicted before
};

/// Draws contexts from passages, which it tokenises once.
class ContextSource {
 public:
  ContextSource(const Model& model, Passages passages, const ContextSizes& sizes);

  /// Stage 1: plain text; the tokens right after the spans, or after a stale stretch behind them.
  Context neighbours(eval::Random random) const;
  /// The same around the sentences that erase-niah erases.
  Context around_numbers(eval::Random random) const;
  /// Stage 2: facts among passages, some of them erased, and questions.
  Context facts(eval::Random random) const;
  /// Stage 2: erase-niah of the evaluation, in these passages.
  Context numbers(eval::Random random) const;

  uint64_t hash() const { return passages_.hash; }

 private:
  std::vector<Token> stream(int tokens, eval::Random& random) const;
  eval::Example numbers_of_some_length(eval::Random& random) const;
  void maybe_evict(Context& context, eval::Random& random) const;

  const Model& model_;
  Passages passages_;
  ContextSizes sizes_;
  FactFinder finder_;
  std::unique_ptr<eval::Task> numbers_;
  std::vector<std::vector<Token>> tokens_;  // [passage]
  std::vector<Token> gap_;                  // between passages
  eval::ChatFormat chat_;                   // around a user's message; empty: no template
};

}  // namespace kvedit::train
