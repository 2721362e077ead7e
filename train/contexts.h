// What the eraser learns from: texts with spans to erase, and questions afterwards. An example is a function
// of the texts and its random numbers alone, so that an interrupted run goes on with equal ones.
#pragma once

#include <string>
#include <vector>

#include "eval/chat.h"
#include "eval/task.h"
#include "kvedit/model.h"
#include "train/facts.h"
#include "train/passages.h"

namespace kvedit::train {

/// Text read after a context, on a fork of its own, to compare caches by.
struct Probe {
  std::string kind;           // "neighbours", "stale/unique", "fresh/retained": rows of the log
  std::vector<Token> before;  // read while the erased text is still in the cache
  std::vector<Token> after;   // read once it is gone
  std::vector<Token> forced;  // compared after each; if empty, the exact cache's answer is
  int answer_tokens = 12;     // most tokens of that answer
  int answer_before = 0;      // number of its tokens read before the erase (stale)
};

struct Context {
  std::vector<Token> tokens;
  std::vector<Span> erased;
  std::vector<Probe> probes;
  std::string policy;  // policy that evicts it before the erase; empty: none
  double keep = 1;
};

struct ContextSizes {
  int tokens = 900;  // most tokens of a context
  int span_min = 4;  // tokens of an erased span
  int span_max = 256;
  int neighbours = 64;    // tokens compared after a span
  int questions = 4;      // most questions about a context
  double evicted = 0.15;  // share of contexts that are evicted before
};

/// Draws contexts from passages, which it tokenises once.
class ContextSource {
 public:
  ContextSource(const Model& model, Passages passages, const ContextSizes& sizes);

  /// Draws plain text for stage 1; the tokens right after the spans are compared, or those after a stale
  /// stretch behind them.
  Context neighbours(eval::Random random) const;
  /// Draws the like around the sentences that erase-niah erases.
  Context around_numbers(eval::Random random) const;
  /// Draws facts among passages for stage 2, some of them erased, and questions.
  Context facts(eval::Random random) const;
  /// Draws the evaluation's erase-niah in these passages, for stage 2.
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
  std::vector<Token> gap_;                  // tokens between passages
  eval::ChatFormat chat_;                   // empty: no template
};

}  // namespace kvedit::train
