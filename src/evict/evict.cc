#include "evict/evict.h"

#include <algorithm>

#include "context/windows.h"
#include "evict/keep_entries.h"
#include "evict/passes.h"
#include "tools/stopwatch.h"
#include "tools/text.h"

namespace kvedit {
namespace {

// Room in the cache for the pending token while scorers look: its query is the last of the context, the one
// that asks for what comes next.
class Loan {
 public:
  Loan(Cache& cache, std::span<const Position> positions) : cache_(cache), positions_(positions) {
    if (!positions.empty()) cache.append(positions);
  }
  ~Loan() { cache_.rollback(positions_); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  int size() const { return static_cast<int>(positions_.size()); }

 private:
  Cache& cache_;
  std::span<const Position> positions_;
};

// The tokens that a policy's passes forward once more, the last ones of the text.
class Passes {
 public:
  Passes(Context& context, const EvictOptions& options, const EngineSource& engine)
      : context_(context), options_(options), engine_(engine) {}

  /// Throws Error(unsupported) where windows no longer hold what the passes of this policy read.
  void prepare(const Policy& policy) {
    const Transcript& t = context_.transcript;
    const CaptureRequest needs = policy.needs();
    if (needs.all_queries()) {
      tail_ = 1 + held_tail(context_.cache, std::span(t.positions).first(t.size() - 1));
    }
    const int again = tokens(needs);
    const Hparams& h = context_.hparams();
    // A tail that ends where windows were freed would be longer.
    if (needs.all_queries() && again < t.size()) {
      require_window(context_.cache, h, t.positions[t.size() - again - 1] + h.window - 1, "evict",
                     policy.name);
    }
    positions_ = std::span(t.positions).last(again);
    if (again > 0) require_window(context_.cache, h, positions_.front(), "evict", policy.name);
    if (options_.passes) options_.passes->look_at(context_.cache, t);
  }

  std::span<const Position> positions() const { return positions_; }

  /// What a pass over the tokens records, made now or, where EvictOptions::passes has it, before.
  Captures captures(const CaptureRequest& needs, std::span<const Position> pending) {
    const auto make = [this](const CaptureRequest& asked) { return forward(asked); };
    if (!options_.passes) return forward(needs);
    return options_.passes->captures(needs, context_.cache, pending, make);
  }

 private:
  int tokens(const CaptureRequest& needs) const {
    return std::max(std::min(needs.window_queries, context_.transcript.size()),
                    needs.all_queries() ? tail_ : 0);
  }

  Captures forward(const CaptureRequest& needs) {
    const Transcript& t = context_.transcript;
    const int again = tokens(needs);
    Captures captures;
    if (again == 0) return captures;
    Run run;
    run.cache = &context_.cache;
    run.read_only = again - 1;
    run.tokens = std::span<const Token>(t.tokens).last(again);
    run.positions = std::span<const Position>(t.positions).last(again);
    run.captures = &captures;
    run.record = needs;
    engine_().forward({&run, 1}, options_.progress);
    return captures;
  }

  Context& context_;
  const EvictOptions& options_;
  const EngineSource& engine_;
  int tail_ = 0;  // tokens whose queries all lanes can answer as before
  std::span<const Position> positions_;
};

}  // namespace

EvictReport evict(Context& context, const Policy& policy, const Budget& budget, const EvictOptions& options,
                  int threads, const EngineSource& engine) {
  const Stopwatch watch;
  if (context.transcript.size() < 2) fail(ErrorCode::invalid_argument, "evict", "the cache is empty");
  Passes passes(context, options, engine);
  passes.prepare(policy);
  std::vector<std::vector<int>> kept;
  {
    const auto positions = passes.positions();
    const Loan pending(context.cache, positions.last(std::min<size_t>(positions.size(), 1)));
    const auto capture = [&](const CaptureRequest& needs) {
      return passes.captures(needs, positions.last(pending.size()));
    };
    kept = choose_entries(policy, context.cache, *context.network, capture, positions, budget, options,
                          threads, pending.size());
  }
  const double score_ms = watch.ms();
  EvictReport report = keep_entries(context.cache, kept);
  report.policy = policy.name;
  report.score_ms = score_ms;
  report.spared_ms = options.passes ? options.passes->spared_ms() : 0;
  context.evicted |= report.entries_after < report.entries_before;
  if (context.evicted) context.exact = 0;
  context.eviction = {policy.recipe, budget, options.seed};
  context.check_edit("evict");
  return report;
}

int held_tail(const Cache& cache, std::span<const Position> positions) {
  size_t tail = positions.size();
  for (int layer = 0; layer < cache.layers(); layer++) {
    for (int head = 0; head < cache.kv_heads(); head++) {
      const auto pages = cache.lane(layer, head).pages();
      size_t held = 0;
      auto page = pages.end();
      for (int left = 0; held < tail; held++) {
        if (left == 0) {
          if (page == pages.begin()) break;
          left = (*--page)->count;
        }
        if ((*page)->positions[--left] != positions[positions.size() - 1 - held]) break;
      }
      tail = held;
    }
  }
  return static_cast<int>(tail);
}

bool within_windows(const Policy& policy) {
  return !policy.needs().all_queries() && policy.needs().window_queries <= kWindowReserve;
}

}  // namespace kvedit
