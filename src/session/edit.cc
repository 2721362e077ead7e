// Erase, evict, undo: each plans on a fork, where all that can fail happens, then swaps it in.
#include <algorithm>
#include <limits>

#include "evict/apply.h"
#include "evict/policy.h"
#include "session/state.h"

namespace kvedit {
namespace {

// Sorted and merged where they touch. Throws for what does not hold.
std::vector<Span> checked(std::span<const Span> spans, int size) {
  if (spans.empty()) fail(ErrorCode::invalid_argument, "erase", "no span given");
  std::vector<Span> sorted(spans.begin(), spans.end());
  for (const Span& s : sorted) {
    if (s.begin < 0 || s.end > size) {
      fail(ErrorCode::out_of_range, "erase", "span ", s.begin, "..", s.end, " passes the context's end, ",
           size);
    }
    if (s.size() <= 0) fail(ErrorCode::invalid_argument, "erase", "span ", s.begin, "..", s.end, " is empty");
  }
  std::sort(sorted.begin(), sorted.end(), [](Span a, Span b) { return a.begin < b.begin; });
  std::vector<Span> merged;
  int erased = 0;
  for (const Span& s : sorted) {
    erased += s.size();
    if (!merged.empty() && s.begin < merged.back().end) {
      fail(ErrorCode::invalid_argument, "erase", "spans ", merged.back().begin, "..", merged.back().end,
           " and ", s.begin, "..", s.end, " overlap");
    }
    if (!merged.empty() && s.begin == merged.back().end) {
      merged.back().end = s.end;
    } else {
      merged.push_back(s);
    }
  }
  if (erased == size) {
    fail(ErrorCode::invalid_argument, "erase", "the spans cover all ", size,
         " tokens; nothing would be left");
  }
  return merged;
}

}  // namespace

void Session::State::commit(Content edited, std::string what) {
  std::swap(content, edited);
  if (options.undo_depth > 0) {
    history.push_back({std::move(what), std::move(edited), content.transcript.size()});
    while (static_cast<int>(history.size()) > options.undo_depth) history.pop_front();
  } else {
    edited.cache = model->new_cache();
  }
  model->page_pool()->trim();
}

EraseReport Session::erase(std::span<const Span> spans, const EraseOptions& options) {
  const Settled use(*state_);
  const Stopwatch watch;
  const EraseMethod& method = find_erase_method(options.method);
  if (options.repair_window < 1) {
    fail(ErrorCode::invalid_argument, "erase", "a repair window of ", options.repair_window,
         " tokens; at least 1");
  }
  const Content& content = state_->content;
  EraseReport report;
  report.method = options.method;
  report.exactness = method.info().exactness;
  report.positions_changed = method.changes_positions();
  report.spans = checked(spans, content.transcript.size());
  report.bytes_before = content.cache.bytes();
  for (const Span& s : report.spans) {
    const auto erased = std::span<const Token>(content.transcript.tokens).subspan(s.begin, s.size());
    report.text.push_back(state_->model->tokenizer().decode(erased));
    report.tokens_erased += s.size();
  }
  Content edited = content.fork();
  report.plan_ms = watch.ms();
  {
    const ModelImpl::Lease engine(*state_->model);
    EraseWork work{edited.cache, edited.transcript, report.spans, options, *engine, content.evicted};
    method.apply(work);
    report.tokens_recomputed = work.tokens_recomputed;
    report.forward_ms = work.forward_ms;
  }
  if (content.evicted && method.rebuilds()) {
    edited.evicted = false;
    state_->evict(edited, content.policy, content.budget, {});
    report.note = "the cache was rebuilt and evicted again with " + content.policy;
  }
  state_->check_limit(edited);
  report.bytes_after = edited.cache.bytes();
  state_->commit(std::move(edited), "erase (" + options.method + ")");
  report.ms = watch.ms();
  return report;
}

EvictReport Session::State::evict(Content& edited, std::string_view name, const Budget& budget,
                                  const EvictOptions& evict_options) {
  const Stopwatch watch;
  const Policy policy = make_policy(name);
  const Transcript& t = edited.transcript;
  const int cached = t.size() - 1;
  if (cached < 1) fail(ErrorCode::invalid_argument, "evict", "the cache is empty");
  const Needs needs = policy.scorer->needs();
  Captures captures;
  captures.window = needs.window_queries;
  captures.attention_mass = needs.attention_mass;
  const int again = needs.attention_mass ? cached : std::min(needs.window_queries, cached);
  const auto positions = std::span<const Position>(t.positions).subspan(cached - again, again);
  if (again >
      0) {  // the last tokens once more, on a fork that goes at once: nothing is kept for evictions to come
    Cache scratch = edited.cache.fork();
    scratch.overwrite(positions);
    Run run;
    run.cache = &scratch;
    run.tokens = std::span<const Token>(t.tokens).subspan(cached - again, again);
    run.positions = positions;
    run.captures = &captures;
    const ModelImpl::Lease engine(*model);
    engine->forward({&run, 1}, {.progress = evict_options.progress});
  }
  const auto kept = select(policy, edited.cache, model->network(), captures,
                           positions.last(static_cast<size_t>(captures.tokens)), budget, evict_options);
  const double score_ms = watch.ms();
  EvictReport report = apply(edited.cache, kept);
  report.policy = policy.name;
  report.score_ms = score_ms;
  edited.evicted |= report.entries_after < report.entries_before;
  edited.policy = policy.name;
  edited.budget = budget;
  return report;
}

EvictReport Session::evict(std::string_view policy, const Budget& budget, const EvictOptions& options) {
  const Settled use(*state_);
  if (options.undo) {
    Content edited = state_->content.fork();
    EvictReport report = state_->evict(edited, policy, budget, options);
    state_->commit(std::move(edited), "evict (" + std::string(policy) + ")");
    return report;
  }
  EvictReport report = state_->evict(state_->content, policy, budget, options);
  state_->history.clear();  // it would pin the pages that went
  state_->model->page_pool()->trim();
  return report;
}

UndoReport Session::undo() {
  const Settled use(*state_);
  if (state_->history.empty()) fail(ErrorCode::not_found, "session", "there is no edit to undo");
  State::Step step = std::move(state_->history.back());
  state_->history.pop_back();
  const int now = state_->content.transcript.size();
  const int then = step.before.transcript.size();
  UndoReport report{step.what, 0, 0};
  report.tokens_dropped = std::max(0, now - step.tokens_after);
  report.tokens_restored = then - step.tokens_after;
  state_->content = std::move(step.before);
  state_->model->page_pool()->trim();
  return report;
}

void Session::forget_history() {
  const Settled use(*state_);
  state_->history.clear();
  state_->model->page_pool()->trim();
}

}  // namespace kvedit
