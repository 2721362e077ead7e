// Evicting a session's context.
#include "evict/evict.h"

#include <optional>

#include "session/state.h"
#include "session/work_state.h"

namespace kvedit {

EvictReport Session::State::evict(Context& edited, std::string_view name, const Budget& budget,
                                  const EvictOptions& evict_options, Engine* leased) {
  const Policy policy = make_policy(name, [this] { return model->companion(".lkv.gguf"); });
  std::optional<ModelImpl::Lease> lease;
  const auto engine = [&]() -> Engine& {
    if (!leased) leased = &*lease.emplace(*model);
    return *leased;
  };
  EvictOptions stepwise = evict_options;
  stepwise.progress = [&](size_t done, size_t total) {
    pause_work();
    check_cancel("evict");
    return !evict_options.progress || evict_options.progress(done, total);
  };
  return kvedit::evict(edited, policy, budget, stepwise, model->options().threads, engine);
}

std::string Session::State::evict_again(Context& rebuilt, const Progress& progress) {
  const auto [policy, budget, seed] = rebuilt.eviction;
  if (DryRun::on()) return "the cache would be rebuilt and evicted again with " + policy;
  try {
    evict(rebuilt, policy, budget, {.seed = seed, .progress = progress});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_range) throw;
    return "the cache was rebuilt; what is left is too short to evict with " + policy;
  }
  return "the cache was rebuilt and evicted again with " + policy;
}

EvictReport Session::evict(std::string_view policy, const Budget& budget, const EvictOptions& options) {
  const Settled use(*state_);
  const CancelScope scope(options.cancel);
  if (options.undo) {
    Context edited = state_->context.fork();
    EvictReport report = state_->evict(edited, policy, budget, options);
    state_->commit(std::move(edited), "evict (" + std::string(policy) + ")");
    return report;
  }
  EvictReport report = state_->evict(state_->context, policy, budget, options);
  if (report.entries_after < report.entries_before)
    state_->forget_history();  // it would pin the pages that went
  state_->publish();
  state_->model->page_pool()->trim();
  return report;
}

}  // namespace kvedit
