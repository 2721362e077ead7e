// Erase, evict, undo: each plans on a fork, where all that can fail happens, then swaps it in.
#include <algorithm>
#include <limits>
#include <optional>

#include "compute/windows.h"
#include "evict/apply.h"
#include "evict/held_tail.h"
#include "evict/policy.h"
#include "session/evict_passes.h"
#include "session/mentions.h"
#include "session/state.h"
#include "session/transcript_text.h"

namespace kvedit {
namespace {

// Sorted and merged where they touch; `kept`: tokens in front that stay, the begin token. Throws for what
// does not hold.
std::vector<Span> checked(std::span<const Span> spans, int size, int kept) {
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
  if (sorted.front().begin < kept) {
    sorted.front().begin = kept;
    if (sorted.front().size() <= 0) {
      fail(ErrorCode::invalid_argument, "erase",
           "the begin token stands in front of every text and cannot be erased");
    }
  }
  int erased = kept;
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

// Whether a token that is left stands at another position.
bool moved(std::vector<Position> before, std::span<const Span> erased, const std::vector<Position>& after) {
  for (size_t i = erased.size(); i-- > 0;)
    before.erase(before.begin() + erased[i].begin, before.begin() + erased[i].end);
  return before != after;
}

}  // namespace

void Session::State::replace(Content edited) {
  content = std::move(edited);
  free_windows();
  publish();
  model->page_pool()->trim();
}

void Session::State::commit(Content edited, std::string what) {
  if (options.undo_depth > 0) {
    history.push_back({std::move(what), std::move(content), edited.transcript.size()});
    while (static_cast<int>(history.size()) > options.undo_depth) history.pop_front();
  }
  replace(std::move(edited));
}

bool Session::State::verification_due(const EraseOptions& erase_options) {
  unverified += options.verify_rate;
  const bool due = unverified >= 1;
  if (due) unverified -= 1;
  return due || erase_options.verify;
}

EraseReport Session::erase(std::span<const Span> spans, const EraseOptions& given) {
  const Settled use(*state_);
  const Stopwatch watch;
  const EraseOptions options = with_numbers(given);
  const EraseMethod& method = find_erase_method(options.method);
  const auto adapter = std::dynamic_pointer_cast<const Lora>(options.adapter);
  if (method.info().needs_adapter && !adapter) {
    fail(ErrorCode::invalid_argument, "erase", options.method,
         " needs an eraser for this model: EraseOptions::adapter is none");
  }
  if (options.repair_window.value_or(1) < 1) {
    fail(ErrorCode::invalid_argument, "erase", "a repair window of ", *options.repair_window,
         " tokens; at least 1");
  }
  if (options.repair_tail.value_or(0) < 0) {
    fail(ErrorCode::invalid_argument, "erase", "a repair tail of ", *options.repair_tail,
         " tokens; at least 0");
  }
  const Content& content = state_->content;
  EraseReport report;
  report.method = given.method;
  report.exactness = method.info().exactness;
  const std::optional<Token> begin_token = state_->model->tokenizer().begin_token();
  const bool begun = content.transcript.size() > 0 && begin_token == content.transcript.tokens[0];
  report.spans = checked(spans, content.transcript.size(), begun ? 1 : 0);
  report.bytes_before = content.cache.bytes();
  for (const Span& s : report.spans) {
    const auto erased = std::span<const Token>(content.transcript.tokens).subspan(s.begin, s.size());
    report.text.push_back(state_->model->tokenizer().decode(erased, content.behind(s.begin)));
    report.tokens_erased += s.size();
    report.text_bytes_erased += report.text.back().size();
  }
  Content edited = content.fork();
  bool rebuilt = false;
  report.plan_ms = watch.ms();
  {
    const ModelImpl::Lease engine(*state_->model);
    EraseWork work{edited.cache, edited.transcript, report.spans,    options,
                   adapter,      *engine,           content.evicted, state_->frees_windows(content)};
    method.apply(work);
    report.note = work.note;
    report.tokens_recomputed = work.tokens_recomputed;
    report.forward_ms = work.forward_ms;
    rebuilt = content.evicted && !work.evicted;
  }
  report.positions_changed = moved(content.transcript.positions, report.spans, edited.transcript.positions);
  if (rebuilt) {
    const Stopwatch evicting;
    add_note(report.note, state_->evict_again(edited, options.progress));
    report.evict_ms = evicting.ms();
  }
  state_->require_windows(edited, "erase");
  state_->check_limit(edited);
  report.bytes_after = edited.cache.bytes();
  if (method.info().needs_adapter) report.adapter = adapter->info().name;
  const Tokenizer& tokenizer = state_->model->tokenizer();
  const TranscriptText left(tokenizer, edited.transcript.tokens);
  std::vector<std::vector<Token>> texts;
  for (const Span& s : report.spans) {
    const auto first = content.transcript.tokens.begin() + s.begin;
    texts.emplace_back(first, first + s.size());
    const auto places = repeats(tokenizer, left, edited.transcript.tokens, texts.back());
    report.repeated.insert(report.repeated.end(), places.begin(), places.end());
  }
  report.mentions = mentions(tokenizer, left, texts, report.repeated);
  // What nothing followed was read by nothing that is left.
  if (edited.transcript.exact == edited.transcript.size()) report.exactness = Exactness::exact;
  if (report.exactness == Exactness::exact) {
    edited.erased.clear();  // all after the first span was read again
  } else {
    edited.erased.insert(edited.erased.end(), texts.begin(), texts.end());
  }
  if (options.forget) {
    edited.erased.clear();
    state_->history.clear();
    state_->replace(std::move(edited));
  } else {
    state_->commit(std::move(edited), "erase (" + given.method + ")");
  }
  report.ms = watch.ms();
  if (state_->verification_due(options)) {
    try {
      report.verified = state_->verify(state_->content, {.progress = options.progress});
    } catch (const Error& error) {  // the erase is done all the same
      add_note(report.note, cat("not verified: ", error.what()));
    }
  }
  return report;
}

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

}  // namespace

EvictReport Session::State::evict(Content& edited, std::string_view name, const Budget& budget,
                                  const EvictOptions& evict_options, Engine* leased) {
  const Stopwatch watch;
  const Policy policy = make_policy(name, [this] { return model->companion(".lkv.gguf"); });
  const Transcript& t = edited.transcript;
  const int cached = t.size() - 1;
  if (cached < 1) fail(ErrorCode::invalid_argument, "evict", "the cache is empty");
  const Hparams& h = model->network().hparams();
  const int tail =
      policy.needs().all_queries() ? 1 + held_tail(edited.cache, std::span(t.positions).first(cached)) : 0;
  const auto tokens_of = [&](const Needs& needs) {  // the last so many once more
    return std::max(std::min(needs.window_queries, t.size()), needs.all_queries() ? tail : 0);
  };
  const int again = tokens_of(policy.needs());
  // A tail that ends where windows were freed would be longer.
  if (policy.needs().all_queries() && again < t.size())
    require_window(edited.cache, h, t.positions[t.size() - again - 1] + h.window - 1, "evict", name);
  const auto positions = std::span<const Position>(t.positions).last(again);
  if (again > 0) require_window(edited.cache, h, positions.front(), "evict", name);
  EvictPasses* passes = evict_options.passes.get();
  if (passes) passes->look_at(edited.cache, t);
  std::vector<std::vector<int>> kept;
  {
    const Loan pending(edited.cache, positions.last(std::min(again, 1)));
    const auto pass = [&](const Needs& needs) {
      const int tokens = tokens_of(needs);
      Captures captures;
      if (tokens == 0) return captures;
      captures.window = needs.window_queries;
      captures.attention_mass = needs.attention_mass;
      captures.query_statistics = needs.query_statistics;
      captures.similarity = needs.similarity;
      captures.first_counted = needs.first_counted;
      Run run;
      run.cache = &edited.cache;
      run.read_only = tokens - 1;
      run.tokens = std::span<const Token>(t.tokens).last(tokens);
      run.positions = std::span<const Position>(t.positions).last(tokens);
      run.captures = &captures;
      std::optional<ModelImpl::Lease> lease;
      Engine& engine = leased ? *leased : *lease.emplace(*model);
      engine.forward({&run, 1}, {.progress = evict_options.progress});
      return captures;
    };
    const auto capture = [&](const Needs& needs) {
      if (!passes) return pass(needs);
      return passes->captures(needs, edited.cache, positions.last(pending.size()), pass);
    };
    kept = select(policy, edited.cache, model->network(), capture, positions, budget, evict_options,
                  model->info().threads, pending.size());
  }
  const double score_ms = watch.ms();
  EvictReport report = kvedit::apply(edited.cache, kept);
  report.policy = policy.name;
  report.score_ms = score_ms;
  report.spared_ms = passes ? passes->spared_ms() : 0;
  edited.evicted |= report.entries_after < report.entries_before;
  if (edited.evicted) edited.transcript.exact = 0;
  edited.policy = policy.recipe;
  edited.budget = budget;
  edited.seed = evict_options.seed;
  return report;
}

std::string Session::State::evict_again(Content& rebuilt, const Progress& progress) {
  rebuilt.evicted = false;
  try {
    evict(rebuilt, rebuilt.policy, rebuilt.budget, {.seed = rebuilt.seed, .progress = progress});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_range) throw;
    return "the cache was rebuilt; what is left is too short to evict with " + rebuilt.policy;
  }
  return "the cache was rebuilt and evicted again with " + rebuilt.policy;
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
  if (report.entries_after < report.entries_before)
    state_->history.clear();  // it would pin the pages that went
  state_->model->page_pool()->trim();
  return report;
}

UndoReport Session::undo() {
  const Settled use(*state_);
  if (state_->history.empty()) fail(ErrorCode::not_found, "session", "there is no edit to undo");
  State::Step step = std::move(state_->history.back());
  state_->history.pop_back();
  try {
    state_->hold_cap(step.before, 0);
  } catch (...) {
    state_->history.push_back(std::move(step));
    throw;
  }
  const int now = state_->content.transcript.size();
  const int then = step.before.transcript.size();
  UndoReport report{step.what, 0, 0};
  report.tokens_dropped = std::max(0, now - step.tokens_after);
  report.tokens_restored = then - step.tokens_after;
  state_->content = std::move(step.before);
  state_->publish();
  state_->model->page_pool()->trim();
  return report;
}

void Session::forget_history() {
  const InUse use(state_->busy);
  state_->history.clear();
  state_->model->page_pool()->trim();
}

}  // namespace kvedit
