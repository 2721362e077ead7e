// StreamingLLM (Xiao et al., "Efficient Streaming Language Models with Attention Sinks", arXiv
// 2309.17453, section 3.2): keep the first tokens, which collect attention whatever they say, and the
// most recent ones. score(j) = position of j; the policy's `sinks` are the first tokens.
#include "evict/parts.h"

namespace kvedit {
namespace {

class StreamingLlm : public Scorer {
 public:
  LayerScores score(const LayerView& view) const override {
    LayerScores scores(view.cache.kv_heads());
    for (int head = 0; head < view.cache.kv_heads(); head++) {
      const auto positions = view.cache.lane(view.layer, head).positions();
      scores[head].assign(positions.begin(), positions.end());
    }
    return scores;
  }
};

}  // namespace

ScorerPart streaming_llm_scorer() {
  return {
      .name = "streaming-llm",
      .paper = "arXiv 2309.17453",
      .description = "The most recent entries; with sinks, the first ones too.",
      .make = [](const Parameters&) -> std::unique_ptr<Scorer> { return std::make_unique<StreamingLlm>(); },
      .recent = 0};  // the score is recency already
}

}  // namespace kvedit
