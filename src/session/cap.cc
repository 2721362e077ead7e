// A cap: the cache is held at a budget by evicting in blocks, while reading and while generating.
#include <algorithm>

#include "context/windows.h"
#include "evict/evict.h"
#include "session/state.h"

namespace kvedit {
namespace {

constexpr double kLeastSlack = 64;  // entries a lane: evicting costs a pass over the policy's window

double held(const Cache& cache, Budget::Kind kind) {
  if (kind == Budget::Kind::bytes) return static_cast<double>(cache.bytes());
  return static_cast<double>(cache.entries()) / (cache.layers() * cache.kv_heads());
}

// One entry in every lane, in the budget's unit.
double entry_of(const Cache& cache, Budget::Kind kind) {
  if (kind != Budget::Kind::bytes) return 1;
  return static_cast<double>(cache.pool()->page_bytes()) * cache.layers() * cache.kv_heads() / kPageEntries;
}

}  // namespace

void Session::State::hold_cap(Context& c, double slack, Engine* leased) {
  if (cap.policy.empty() || DryRun::on()) return;
  Budget budget = cap.budget;
  if (budget.kind == Budget::Kind::fraction) {  // of the whole transcript
    budget = Budget::tokens(static_cast<int>(budget.amount * c.transcript.size()));
  }
  if (held(c.cache, budget.kind) <= budget.amount) return;
  const Stopwatch watch;
  const Policy policy = make_policy(cap.policy);
  const double entry = entry_of(c.cache, budget.kind);
  const double least = entry * (policy.sinks + policy.recent);
  // A text that is still short may have no room for what is always kept.
  if (cap.budget.kind == Budget::Kind::fraction && budget.amount < least) return;
  if (slack > 0) budget.amount -= std::max(slack * budget.amount, kLeastSlack * entry);
  budget.amount = std::max(budget.amount, least);
  evict(c, cap.policy, budget, cap.options, leased);
  forget_history();  // it would pin the pages that went
  cap.evictions++;
  cap.ms += watch.ms();
}

void Session::set_cap(std::string_view policy, const Budget& budget, const EvictOptions& options) {
  const Settled use(*state_);
  const Policy made = make_policy(policy);
  check_budget(budget);
  const int least = made.sinks + made.recent;
  if (budget.kind == Budget::Kind::tokens && budget.amount < least) {
    fail(ErrorCode::out_of_range, "session", "a cap of ", budget.amount, " tokens a lane is below the ",
         least, " always kept (sinks=", made.sinks, ", recent=", made.recent, ")");
  }
  const bool frees = state_->frees_windows() || state_->context.cache.held_from() > 0;
  if (frees && !within_windows(made)) {
    fail(ErrorCode::unsupported, "session", "a cap by ", policy, " reads more than the last ", kWindowReserve,
         " tokens again each time, and SessionOptions::swa = window frees what they need of sliding-window "
         "layers");
  }
  const Cap before = state_->cap;
  state_->cap = {std::string(policy), budget, options};
  try {
    state_->hold_cap(state_->context, 0);
  } catch (...) {
    state_->cap = before;
    throw;
  }
}

void Session::clear_cap() {
  const InUse use(*state_);
  state_->cap = {};
}

}  // namespace kvedit
